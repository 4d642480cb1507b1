# What the drivers share: processes that are stopped by their own id, a Kura, a
# Redmine code root (on this machine or in a chroot), and a Redmine served by
# puma. Nothing but Ruby's standard library.
# frozen_string_literal: true

require 'fileutils'
require 'json'
require 'net/http'
require 'open3'
require 'securerandom'
require 'socket'
require 'tmpdir'

module Lab
  HERE = File.expand_path('..', __dir__)
  REPOSITORY = File.expand_path('../..', HERE)
  TARGET = File.join(REPOSITORY, 'target/redmine')
  PLUGIN = ENV.fetch('KURA_PLUGIN', File.join(REPOSITORY, 'plugin/redmine_kura'))
  KURA = ENV['KURA_BINARY'] || %w[release debug].map { |p| File.join(REPOSITORY, 'target', p, 'kura') }
                                                .select { |p| File.executable?(p) }.max_by { |p| File.mtime(p) }

  ADMIN = 'a' * 40
  OUTSIDER = 'b' * 40

  module_function

  def free_port
    server = TCPServer.new('127.0.0.1', 0)
    server.addr[1].tap { server.close }
  end

  # A directory for this run alone, removed at its end.
  def scratch
    @scratch ||= Dir.mktmpdir('kura-redmine-').tap { |dir| at_exit { FileUtils.rm_rf(dir) unless ENV['KEEP'] } }
  end

  def wait(what, seconds = 60)
    deadline = now + seconds
    until (result = yield)
      raise "#{what}: not within #{seconds} s" if now > deadline

      sleep 0.05
    end
    result
  end

  def answering?(port)
    TCPSocket.new('127.0.0.1', port).close.nil?
  rescue SystemCallError
    false
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # A child process in a group of its own. Whatever happens, it ends with us.
  class Child
    attr_reader :pid, :log

    def self.all
      @all ||= [].tap { |list| at_exit { list.reverse_each(&:stop) } }
    end

    def spawn(env, *command, chdir: '/', log: File.join(Lab.scratch, "#{SecureRandom.hex(4)}.log"))
      @log = log
      @pid = Process.spawn(env, *command, chdir: chdir, pgroup: true, in: File::NULL, out: [log, 'a'], err: [log, 'a'])
      Child.all << self
      self
    end

    def alive?
      @pid && Process.waitpid(@pid, Process::WNOHANG).nil?
    rescue Errno::ECHILD
      false
    end

    # Waits for its own end; its status.
    def wait
      Process.waitpid2(@pid).last.tap { @pid = nil }
    end

    def signal(name)
      Process.kill(name, @pid) if @pid
    rescue Errno::ESRCH
      nil
    end

    def stall = signal('STOP')
    def resume = signal('CONT')

    def kill
      signal('KILL')
      Process.waitpid(@pid) if @pid
    rescue Errno::ECHILD
      nil
    ensure
      @pid = nil
    end

    def stop(seconds = 15)
      return unless @pid

      resume
      signal('TERM')
      Lab.wait('end', seconds) { !alive? }
      @pid = nil
    rescue RuntimeError
      kill
    end
  end

  # A live Kura with a store of its own, which outlives its restarts.
  class Kura < Child
    attr_reader :port, :environment

    def initialize(environment = {})
      super()
      raise 'no kura to run: build it, or name it in KURA_BINARY' unless KURA

      @port = Lab.free_port
      @dir = File.join(Lab.scratch, "kura-#{@port}")
      @environment = {
        'KURA_LISTEN' => "127.0.0.1:#{@port}", 'KURA_STORE' => "dir:#{@dir}"
      }.merge(environment).compact
    end

    def start(as: [])
      spawn(@environment, *as, KURA, 'serve', log: "#{@dir}.log")
      Lab.wait('Kura') { alive? ? up? : raise(File.read(log)) }
      self
    end

    def up?
      Net::HTTP.get_response(URI("#{url}/readyz")).is_a?(Net::HTTPSuccess)
    rescue SystemCallError
      false
    end

    def url = "http://127.0.0.1:#{@port}"

    def token(tenant = @environment.fetch('KURA_TENANT', 'default'))
      out, status = Open3.capture2(@environment, KURA, 'token', tenant)
      status.success? ? out.strip : raise("no token for #{tenant}")
    end

    # Has `kura vhosts` write to a directory; raises when a tenant is refused.
    def vhosts(output, tenants, *options)
      environment = @environment.merge('KURA_TENANTS' => "dir:#{tenants}")
      out, status = Open3.capture2e(environment, KURA, 'vhosts', '--output', output, '--domain', 'localhost', *options)
      status.success? ? out : raise(out)
    end

    # What the plugin needs to find it.
    def for_plugin(tenant = nil)
      { 'KURA_URL' => url, 'KURA_TOKEN' => tenant ? token(tenant) : token }
    end

    # The keys of all files of a tenant.
    def keys(token = self.token)
      keys = []
      cursor = nil
      loop do
        uri = URI("#{url}/v1/files?limit=1000#{"&cursor=#{cursor}" if cursor}")
        page = JSON.parse(Net::HTTP.get(uri, { 'Authorization' => "Bearer #{token}" }))
        keys.concat(page.fetch('files').map { |file| file.fetch('key') })
        cursor = page['cursor'] || page['next_cursor'] or return keys
        cursor = URI.encode_www_form_component(cursor)
      end
    end

    def delete(key)
      request = Net::HTTP::Delete.new("/v1/files/#{key}", { 'Authorization' => "Bearer #{token}" })
      Net::HTTP.start('127.0.0.1', @port) { |http| http.request(request) }
    end

    # The sum of a counter over its labels, those with `matching` in their labels only.
    def metric(name, matching = '')
      Net::HTTP.get(URI("#{url}/metrics")).lines.grep(/\A#{name}[{ ]/).grep(/#{matching}/).sum { |l| l.split.last.to_f }
    end
  end

  # A copy of a version's code root for one use: with the plugin or without.
  class Code
    attr_reader :version, :path, :name

    def initialize(version, name, plugin:)
      @version = version
      @name = name
      @base = File.join(TARGET, version)
      @chroot = File.join(@base, 'chroot') unless version.start_with?('5.')
      @path = @chroot ? "#{@chroot}/redmine-#{name}" : "#{@base}/#{name}"
      FileUtils.rm_rf(@path)
      system('cp', '-a', @chroot ? "#{@chroot}/redmine" : "#{@base}/root", @path, exception: true)
      install(PLUGIN) if plugin
    end

    def install(plugin)
      raise "there is no plugin at #{plugin}" unless File.file?("#{plugin}/init.rb")

      FileUtils.cp_r(plugin, "#{@path}/plugins/")
    end

    # Another tenant on the same code.
    def add_instance(name)
      system('cp', '-a', "#{@path}/instances/default", "#{@path}/instances/#{name}", exception: true)
    end

    # Lets the tests in this copy write down their results.
    def record_tests
      FileUtils.cp("#{HERE}/lib/record.rb", "#{@path}/test/kura_record.rb")
      helper = "#{@path}/test/test_helper.rb"
      line = "require_relative 'kura_record'\n"
      File.write(helper, line, mode: 'a') unless File.read(helper).end_with?(line)
    end

    # The command as it must be run from outside, and where.
    def command(*command)
      return command unless @chroot

      ["#{HERE}/lib/in-chroot", @chroot, "/redmine-#{@name}", *command]
    end

    def chdir = @chroot ? '/' : @path

    # When its original was set up.
    def made_at = File.mtime(@chroot ? "#{@base}/.root-ready" : "#{@base}/root/.kura-ready")

    # The same path as code inside sees it.
    def inside(path) = @chroot ? path.delete_prefix(@chroot) : path

    def environment
      {
        'PATH' => "#{@base}/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", 'BUNDLER_VERSION' => nil, 'BUNDLE_GEMFILE' => nil,
        'RUBYOPT' => nil, 'RUBYLIB' => nil, 'GEM_HOME' => nil, 'LANG' => 'C.UTF-8', 'TZ' => 'UTC',
        'KURA_URL' => nil, 'KURA_TOKEN' => nil, 'KURA_DELIVERY' => nil
      }
    end

    def sql(query, instance: 'default', environment: 'production')
      out, status = Open3.capture2('sqlite3', '-cmd', '.timeout 20000',
                                   "#{@path}/instances/#{instance}/#{environment}.sqlite3", query)
      status.success? ? out.strip : raise("sqlite3: #{query}")
    end
  end

  # A Redmine served by puma.
  class Redmine < Child
    attr_reader :code, :port, :instance

    def initialize(code, env = {}, instance: 'default', threads: 8)
      super()
      @code = code
      @instance = instance
      @threads = threads
      @port = Lab.free_port
      @env = code.environment.merge('RAILS_ENV' => 'production', 'REDMINE_INSTANCE' => instance,
                                    'RAILS_SERVE_STATIC_FILES' => '1').merge(env)
    end

    def start(as: [])
      spawn(@env, *as, *code.command('bundle', 'exec', 'puma', '-t', "#{@threads}:#{@threads}",
                                '-b', "tcp://127.0.0.1:#{@port}", 'config.ru'), chdir: code.chdir)
      Lab.wait('Redmine') { alive? ? up? : raise(File.read(log)) }
      self
    end

    def up?
      Net::HTTP.get_response(URI("#{url}/login")).is_a?(Net::HTTPSuccess)
    rescue SystemCallError, EOFError
      false
    end

    def url = "http://127.0.0.1:#{@port}"

    # One request with somebody's API key. `body` may be an IO.
    def request(method, path, body = nil, headers = {}, key: ADMIN, timeout: 120)
      request = Net::HTTP.const_get(method.capitalize).new(path, { 'X-Redmine-API-Key' => key }.merge(headers))
      request['Accept-Encoding'] ||= 'identity'
      if body.respond_to?(:read)
        request.body_stream = body
        request['Content-Length'] = body.size.to_s
      elsif body
        request.body = body
      end
      Net::HTTP.start('127.0.0.1', @port, read_timeout: timeout, max_retries: 0, ignore_eof: false) do |http|
        http.request(request) { |response| block_given? ? yield(response) : response.body }
      end
    end

    def upload(name, bytes, **options)
      request('post', "/uploads.json?filename=#{URI.encode_www_form_component(name)}", bytes,
              { 'Content-Type' => 'application/octet-stream' }, **options)
    end

    # Uploads and attaches to an issue; gives the attachment's id.
    def attach(name, bytes, issue: 1, type: nil)
      response = upload(name, bytes)
      raise "upload of #{name}: #{response.code} #{response.body[0, 300]}" unless response.code == '201'

      token = JSON.parse(response.body).dig('upload', 'token')
      upload = { token: token, filename: name, content_type: type }.compact
      response = request('put', "/issues/#{issue}.json", JSON.generate(issue: { uploads: [upload] }),
                         { 'Content-Type' => 'application/json' })
      raise "attaching #{name}: #{response.code} #{response.body[0, 300]}" unless response.code =~ /\A2/

      token.to_i
    end

    # Ruby's own CPU seconds, of its waited-for children too.
    def cpu_seconds
      fields = File.read("/proc/#{ruby_pid}/stat").rpartition(')').last.split
      fields[11, 4].sum(&:to_i) / 100.0
    end

    # Begins a new measurement of the peak; gives what is in use now, in MB.
    def reset_peak
      File.write("/proc/#{ruby_pid}/clear_refs", '5')
      memory('VmRSS')
    end

    def peak = memory('VmHWM')

    def memory(field)
      File.read("/proc/#{ruby_pid}/status")[/^#{field}:\s+(\d+)/, 1].to_i / 1024.0
    end

    # chroot and env become puma: the process keeps its id.
    def ruby_pid = pid
  end

  # Somebody who is logged in, without a browser.
  class Session
    def initialize(redmine, login)
      @redmine = redmine
      @cookie = nil
      page = get('/login').body
      @token = page[/name="csrf-token" content="([^"]+)"/, 1]
      form = URI.encode_www_form('username' => login, 'password' => "#{login}1234", 'authenticity_token' => @token)
      response = request('post', '/login', form, { 'Content-Type' => 'application/x-www-form-urlencoded' })
      raise 'no login' unless response.code == '302'

      @token = get('/my/page').body[/name="csrf-token" content="([^"]+)"/, 1]
    end

    def get(path) = request('get', path)

    def post(path, form, type = 'multipart/form-data; boundary=kura')
      request('post', path, form, { 'Content-Type' => type, 'X-CSRF-Token' => @token })
    end

    def request(method, path, body = nil, headers = {})
      headers = headers.merge('Cookie' => @cookie) if @cookie
      response = @redmine.request(method, path, body, headers, key: '')
      cookies = response.get_fields('Set-Cookie')
      @cookie = cookies.map { |c| c[/\A[^;]+/] }.join('; ') if cookies
      response
    end
  end
end
