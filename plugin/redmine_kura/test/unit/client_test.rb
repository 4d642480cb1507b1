# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

class KuraClientTest < ActiveSupport::TestCase
  include KuraTestHelper

  def client
    RedmineKura.client
  end

  def upload(content)
    client.store(RedmineKura::Upload.new(content), directory: 'x', name: '1_a.txt', filename: 'a.txt', content_type: 'text/plain')
  end

  def test_a_stalled_kura_is_given_up_within_the_time_out
    with_stalled_kura do
      taken = seconds { assert_raises(RedmineKura::Error::Unavailable) { client.head_file('a') } }
      assert_operator taken, :<, 2
    end
  end

  def test_a_dead_kura_is_unavailable
    with_dead_kura { assert_raises(RedmineKura::Error::Unavailable) { client.head_file('a') } }
  end

  def test_what_is_safe_to_repeat_is_repeated_once_when_the_connection_breaks
    tries = 0
    answer = lambda do |socket, _head|
      (tries += 1) == 1 ? socket.close : respond(socket, 204)
    end
    with_fake_kura(answer) { client.delete_file('a') }
    assert_equal 2, tries
  end

  def test_an_upload_is_never_sent_twice
    with_fake_kura(->(socket, _head) { socket.close }) do |server|
      assert_raises(RedmineKura::Error::Unavailable) { upload('x') }
      assert_equal 1, server.requests.size
    end
  end

  def test_kura_is_told_the_request_and_the_trace_it_works_for
    traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    request = ActionDispatch::TestRequest.create('HTTP_TRACEPARENT' => traceparent, 'action_dispatch.request_id' => 'r1')
    RedmineKura::RequestId.take(request)
    heads = []
    answer = lambda do |socket, head|
      heads << head
      respond(socket, 204)
    end
    with_fake_kura(answer) { client.delete_file('a') }
    assert_match(/^x-request-id: r1\r?$/i, heads.first)
    assert_match(/^traceparent: #{traceparent}\r?$/i, heads.first)
  ensure
    RedmineKura::RequestId.take(ActionDispatch::TestRequest.create)
  end

  def test_a_connection_is_used_again
    connections = 0
    seen = {}
    answer = lambda do |socket, _head|
      seen[socket] ||= (connections += 1)
      respond(socket, 204)
    end
    with_fake_kura(answer) { 3.times { client.delete_file('a') } }
    assert_equal 1, connections
  end

  def test_a_connection_that_kura_closed_meanwhile_is_opened_anew_for_an_upload
    answer = lambda do |socket, head|
      socket.write("HTTP/1.1 100 Continue\r\n\r\n")
      socket.read(head[/content-length: (\d+)/i, 1].to_i)
      respond(socket, 201, {}, '{"key":"x/1_a.txt","disk_filename":"1_a.txt"}')
      socket.close
    end
    with_fake_kura(answer) do
      2.times do
        assert_equal 'x/1_a.txt', upload('x')['key']
        sleep 0.05 # for the closing to arrive
      end
    end
  end

  def test_not_found_is_only_what_kura_itself_says
    with_fake_kura(->(socket, _head) { respond(socket, 404, {}, '<h1>Not Found</h1>') }) do
      assert_raises(RedmineKura::Error::Misconfigured) { client.open_file('a') }
    end
    assert_raises(RedmineKura::Error::NotFound) { client.open_file('2026/11/nothing.txt') }
    assert_nil client.head_file('2026/11/nothing.txt')
  end

  def test_a_404_of_another_server_does_not_pass_for_a_missing_file_in_head
    with_fake_kura(->(socket, _head) { respond(socket, 404, 'Content-Type' => 'text/html') }) do
      assert_raises(RedmineKura::Error::Misconfigured) { client.head_file('a') }
    end
  end

  def test_a_short_body_is_an_error
    answer = lambda do |socket, _head|
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
      socket.close
    end
    with_fake_kura(answer) { assert_raises(RedmineKura::Error::Unavailable) { client.open_file('a').read } }
  end

  def test_retry_after_is_passed_on
    problem = '{"code":"storage_throttled","detail":"slow down"}'
    with_fake_kura(->(socket, _head) { respond(socket, 503, { 'Retry-After' => 7 }, problem) }) do
      error = assert_raises(RedmineKura::Error::Unavailable) { client.open_file('a') }
      assert_equal 7, error.retry_after
      assert_equal 'storage_throttled', error.code
    end
  end

  def test_a_wrong_token_is_a_wrong_setting
    with_kura(KURA_TOKEN: 'default.00') do
      assert_raises(RedmineKura::Error::Misconfigured) { client.check_token }
    end
  end

  def test_a_body_that_is_not_read_to_its_end_does_not_disturb_the_next_request
    content = fresh_content(300_000)
    key = upload(content)['key']
    response = client.open_file(key)
    assert kura?(key), 'another request while the body is open'
    response.each {|_piece| break}
    assert_equal content, client.open_file(key).read
  ensure
    client.delete_file(key) if key
  end

  def test_a_stalled_kura_is_sent_no_body_that_it_could_store_later
    received = nil
    answer = lambda do |socket, _head|
      received = socket.read
    end
    with_fake_kura(answer) do |server|
      assert_raises(RedmineKura::Error::Unavailable) { upload('x') }
      Timeout.timeout(2) { sleep 0.01 until received }
      assert_equal ['', 1], [received, server.requests.size]
    end
  end

  def test_a_body_that_kura_does_not_want_is_not_sent
    problem = '{"code":"body_too_large"}'
    answer = lambda do |socket, head|
      assert_match(/^expect: 100-continue/i, head)
      respond(socket, 413, { 'Connection' => 'close' }, problem)
    end
    sent = 0
    upload = RedmineKura::Upload.new(StringIO.new('x' * 300_000))
    read = upload.method(:read)
    upload.define_singleton_method(:read) {|*arguments| (sent += 1) && read.call(*arguments)}
    with_fake_kura(answer) do
      assert_raises(RedmineKura::Error::TooLarge) do
        client.store(upload, directory: 'x', name: '1_a', filename: 'a', content_type: 'a/b')
      end
    end
    assert_equal 0, sent
  end

  def test_over_a_unix_socket
    Dir.mktmpdir do |directory|
      path = File.join(directory, 'kura.sock')
      server = UNIXServer.new(path)
      thread = Thread.new do
        socket = server.accept
        socket.gets("\r\n\r\n")
        respond(socket, 204)
        socket.close
      end
      with_kura(KURA_URL: "unix:#{path}") { assert_equal '204', client.delete_file('a').code }
      thread.join
    end
  end
end
