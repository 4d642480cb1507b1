# frozen_string_literal: true

# What the plugin's tests share. They run against a live Kura, which KURA_URL and KURA_TOKEN name,
# and against a small server of their own that misbehaves on purpose.

# The plugin may be a symbolic link, so Redmine is not looked for beside it.
require File.expand_path('test/test_helper', defined?(Rails.root) ? Rails.root.to_s : Dir.pwd)
require 'socket'

abort 'The tests of redmine_kura need a running Kura: set KURA_URL and KURA_TOKEN.' unless RedmineKura.active?

module KuraTestHelper
  # A server on a free port. The block gets each connection's request head and the socket.
  class FakeServer
    attr_reader :requests

    def initialize(&answer)
      @requests = []
      @answer = answer
      @server = TCPServer.new('127.0.0.1', 0)
      @threads = [Thread.new { accept }]
    end

    def url
      "http://127.0.0.1:#{@server.addr[1]}"
    end

    def close
      @server.close
      @threads.each(&:kill)
    end

    private

    def accept
      loop do
        socket = @server.accept
        @threads << Thread.new { serve(socket) }
      end
    rescue IOError, SystemCallError
      nil
    end

    def serve(socket)
      while (head = socket.gets("\r\n\r\n"))
        requests << head.lines.first.chomp
        @answer.call(socket, head)
      end
    rescue IOError, SystemCallError
      nil
    ensure
      socket.close
    end
  end

  def setup
    super
    User.current = nil
    set_tmp_attachments_directory
  end

  # Runs the block as if Redmine had been started with these variables on top of the others.
  def with_kura(changes)
    RedmineKura.configure(ENV.to_h.merge(changes.transform_keys(&:to_s).transform_values(&:to_s)))
    yield
  ensure
    RedmineKura.configure(ENV)
  end

  # Runs the block with a server that answers as given, and with short time-outs.
  def with_fake_kura(answer, &block)
    server = FakeServer.new(&answer)
    with_kura(KURA_URL: server.url, KURA_READ_TIMEOUT: '0.5', KURA_OPEN_TIMEOUT: '0.5') { block.call(server) }
  ensure
    server&.close
  end

  # A dead Kura: nothing listens at this address.
  def with_dead_kura(&block)
    server = TCPServer.new('127.0.0.1', 0)
    port = server.addr[1]
    server.close
    with_kura(KURA_URL: "http://127.0.0.1:#{port}", &block)
  end

  # A Kura that takes requests and never answers.
  def with_stalled_kura(&block)
    with_fake_kura(->(_socket, _head) { sleep }, &block)
  end

  def respond(socket, status, headers = {}, body = '')
    headers = { 'Content-Length' => body.bytesize }.merge(headers)
    socket.write("HTTP/1.1 #{status} X\r\n#{headers.map {|k, v| "#{k}: #{v}\r\n"}.join}\r\n#{body}")
  end

  def seconds
    started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    yield
    Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
  end

  def create_attachment(content, filename: 'test.bin', **attributes)
    Attachment.create!({ file: mock_upload(content, filename), author: User.find(1), container: Issue.find(1) }.merge(attributes))
  end

  def mock_upload(content, filename, type = 'application/octet-stream')
    Rack::Test::UploadedFile.new(StringIO.new(content), type, original_filename: filename)
  end

  # A PNG of 300 × 200 pixels that no other test has.
  def picture
    chunk = ->(type, data) { [data.bytesize].pack('N') + type + data + [Zlib.crc32(type + data)].pack('N') }
    rows = Array.new(200) { "\0".b + SecureRandom.random_bytes(900) }.join
    "\x89PNG\r\n\x1A\n".b + chunk.call('IHDR', [300, 200, 8, 2, 0, 0, 0].pack('NNC5')) +
      chunk.call('IDAT', Zlib.deflate(rows)) + chunk.call('IEND', '')
  end

  def kura?(key)
    !RedmineKura.client.head_file(key).nil?
  end

  # Bytes that no other test has, so that nothing is deduplicated by chance.
  def fresh_content(size = 2000)
    SecureRandom.random_bytes(size)
  end
end
