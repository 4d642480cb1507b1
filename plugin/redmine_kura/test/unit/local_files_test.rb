# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

class KuraLocalFilesTest < ActiveSupport::TestCase
  include KuraTestHelper
  fixtures :users, :issues, :projects

  def files
    RedmineKura.files
  end

  def store(content)
    RedmineKura.client.store(RedmineKura::Upload.new(content), directory: '2026/11', name: '261122194501_a.txt',
                                                             filename: 'a.txt', content_type: 'text/plain')
  end

  def with_local_dir(changes = {})
    Dir.mktmpdir do |directory|
      with_kura({ KURA_LOCAL_DIR: directory, KURA_CACHE_DIR: '' }.merge(changes)) { yield directory }
    end
  end

  def test_a_copy_is_made_once
    with_local_dir do
      stored = store('abc')
      path = files.file(stored['key'], stored['digest'])
      assert_equal 'abc', File.read(path)
      assert_equal stored['disk_filename'], File.basename(path)
      RedmineKura.client.delete_file(stored['key'])
      assert_equal path, files.file(stored['key'], stored['digest'])
      files.forget_file(stored['key'], stored['digest'])
      assert_nil files.file(stored['key'], stored['digest'])
    end
  end

  def test_copies_are_for_this_tenant_and_user_only
    with_local_dir do |directory|
      stored = store('abc')
      path = files.file(stored['key'], stored['digest'])
      tenant = Dir.children(directory).first
      assert_equal 0o700, File.stat(File.join(directory, tenant)).mode & 0o777
      assert_equal 0o600, File.stat(path).mode & 0o777
      assert_match(/\A\h{32}\z/, tenant)
    end
  end

  def test_the_same_key_with_other_bytes_is_another_file
    with_local_dir do
      stored = store('abc')
      files.file(stored['key'], stored['digest'])
      assert_not files.file?(stored['key'], Digest::SHA256.hexdigest('xyz'))
    end
  end

  def test_a_body_that_breaks_off_leaves_nothing
    answer = lambda do |socket, _head|
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n#{'x' * 70_000}")
      socket.close
    end
    with_local_dir do |directory|
      with_fake_kura(answer) do
        RedmineKura.configuration.stubs(:local_dir).returns(directory)
        assert_raises(RedmineKura::Error::Unavailable) { files.file('a/b.txt', nil) }
      end
      assert_empty Dir.glob("#{directory}/**/*").select {|path| File.file?(path)}
    end
  end

  def test_old_copies_and_those_that_do_not_fit_are_removed
    with_local_dir(KURA_LOCAL_BYTES: 1500, KURA_LOCAL_SECONDS: 3600) do
      paths = Array.new(4) do
        stored = store(fresh_content(600))
        files.file(stored['key'], stored['digest'])
      end
      hour_ago = Time.now - 4000
      File.utime(hour_ago, hour_ago, paths[0])
      [paths[1], paths[2]].each_with_index {|path, i| File.utime(Time.now - 700 + i, Time.now - 700 + i, path)}
      files.sweep
      assert_equal [false, false, true, true], paths.map {|path| File.exist?(path)}
      assert_not File.exist?(File.dirname(paths[0]))
    end
  end

  def test_a_leased_file_is_linked_and_unlinked
    Dir.mktmpdir do |cache|
      with_local_dir(KURA_CACHE_DIR: cache) do
        leased = File.join(cache, 'a.txt')
        File.write(leased, 'abc')
        RedmineKura.client.expects(:lease).once.returns('path' => leased, 'expires_at' => (Time.now + 300).iso8601)
        RedmineKura.client.expects(:open_file).never
        path = files.file('2026/11/a.txt', nil)
        assert_equal leased, File.readlink(path)
        assert_equal path, files.file('2026/11/a.txt', nil)
        files.forget_file('2026/11/a.txt', nil)
        assert_not File.exist?(path)
        assert File.exist?(leased)
      end
    end
  end

  def test_a_lease_that_has_nearly_ended_is_renewed
    Dir.mktmpdir do |cache|
      with_local_dir(KURA_CACHE_DIR: cache) do
        leased = File.join(cache, 'a.txt')
        File.write(leased, 'abc')
        RedmineKura.client.expects(:lease).twice.returns('path' => leased, 'expires_at' => (Time.now + 30).iso8601)
        2.times { files.file('2026/11/a.txt', nil) }
      end
    end
  end

  def test_without_a_lease_a_copy_is_made
    with_local_dir(KURA_CACHE_DIR: '/nowhere') do
      stored = store('abc')
      path = files.file(stored['key'], stored['digest'])
      assert_not File.symlink?(path)
      assert_equal 'abc', File.read(path)
    end
  end

  def test_what_was_used_a_moment_ago_is_kept_even_when_it_does_not_fit
    with_local_dir(KURA_LOCAL_BYTES: 10) do
      stored = store(fresh_content(600))
      path = files.file(stored['key'], stored['digest'])
      files.sweep
      assert File.exist?(path)
    end
  end

  def test_a_directory_that_cannot_be_written_to_is_said_readably
    Tempfile.create('not a directory') do |file|
      with_kura(KURA_LOCAL_DIR: file.path) do
        error = assert_raises(RedmineKura::Error::Misconfigured) { files.check_writable }
        assert_includes error.message, 'KURA_LOCAL_DIR'
      end
    end
  end

  def test_a_full_disk_is_swept_for_the_next_try
    with_local_dir do
      stored = store(fresh_content(600))
      old = files.file(stored['key'], stored['digest'])
      File.utime(Time.now - 700, Time.now - 700, old)
      full = stub(close: nil)
      full.stubs(:each).raises(Errno::ENOSPC)
      RedmineKura.client.stubs(:open_file).returns(full)
      assert_raises(RedmineKura::Error::Full) { files.file('2026/11/other.txt', nil) }
      assert_not File.exist?(old)
    end
  end

  def test_somebody_elses_directory_is_never_written_to
    Dir.mktmpdir do |directory|
      with_kura(KURA_LOCAL_DIR: directory) do
        Process.euid.zero? ? File.chown(4711, nil, directory) : Process.stubs(:euid).returns(4711)
        2.times { assert_raises(RedmineKura::Error::Misconfigured) { files.names_directory } }
        assert_empty Dir.children(directory)
      end
    end
  end

  def test_a_name_as_long_as_the_disk_takes
    with_local_dir do
      RedmineKura.client.expects(:open_file).returns(StringIO.new('abc'))
      assert_equal 'abc', File.read(files.file("2026/11/261122194501_#{'x' * 242}", nil))
    end
  end

  def test_a_link_that_was_used_a_moment_ago_is_kept
    Dir.mktmpdir do |cache|
      with_local_dir(KURA_CACHE_DIR: cache, KURA_LOCAL_SECONDS: 600) do
        leased = File.join(cache, 'a.txt')
        File.write(leased, 'abc')
        RedmineKura.client.stubs(:lease).returns('path' => leased, 'expires_at' => (Time.now + 300).iso8601)
        path = files.file('2026/11/a.txt', nil)
        File.lutime(Time.now - 700, Time.now - 700, path)
        files.file('2026/11/a.txt', nil)
        files.sweep
        assert_equal 'abc', File.read(path)
      end
    end
  end
end
