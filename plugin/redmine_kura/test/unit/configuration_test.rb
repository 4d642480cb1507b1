# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

class KuraConfigurationTest < ActiveSupport::TestCase
  def configuration(env)
    RedmineKura::Configuration.new(env.transform_keys(&:to_s))
  end

  def test_without_kura_url_the_plugin_is_inactive
    assert_not configuration({}).active?
    assert_not configuration(KURA_URL: ' ', KURA_TOKEN: 'x').active?
  end

  def test_addresses
    assert_equal 'https', configuration(KURA_URL: 'https://kura.example', KURA_TOKEN: 'a.b').url.scheme
    assert_equal '/run/kura.sock', configuration(KURA_URL: 'unix:/run/kura.sock', KURA_TOKEN: 'a.b').socket
    assert_equal '/run/kura.sock', configuration(KURA_URL: 'unix:///run/kura.sock', KURA_TOKEN: 'a.b').socket
  end

  def test_all_errors_are_said_at_once
    wrong = configuration(KURA_URL: 'ftp://x', KURA_DELIVERY: 'pigeon', KURA_READ_TIMEOUT: 'soon')
    assert wrong.active?
    assert_equal 4, wrong.errors.size
    error = assert_raises(RedmineKura::Error::Misconfigured) { wrong.check! }
    %w[KURA_URL KURA_TOKEN KURA_DELIVERY KURA_READ_TIMEOUT].each {|name| assert_includes error.message, name}
  end

  def test_token_from_a_file
    Tempfile.create('token') do |file|
      file.write("acme.0123\n")
      file.flush
      read = configuration(KURA_URL: 'http://x', KURA_TOKEN_FILE: file.path)
      assert_equal 'acme.0123', read.token
      assert_equal 'acme', read.tenant
    end
  end

  def test_directories_of_tenants_differ_and_do_not_show_the_token
    one = configuration(KURA_URL: 'http://x', KURA_TOKEN: 'a.secret').tenant_directory
    other = configuration(KURA_URL: 'http://x', KURA_TOKEN: 'b.secret').tenant_directory
    assert_not_equal one, other
    assert_match(/\A\h{32}\z/, one)
  end

  def test_a_fraction_of_a_second_or_byte_is_one
    assert_equal 1, configuration(KURA_URL: 'http://x', KURA_TOKEN: 'a.b', KURA_TICKET_SECONDS: '0.5').ticket_seconds
    assert_equal 1, configuration(KURA_URL: 'http://x', KURA_TOKEN: 'a.b', KURA_LOCAL_BYTES: '0.5').local_bytes
  end

  def test_a_token_that_no_header_can_hold_is_said_without_showing_it
    ["acme.12\nacme.34", "acme.\xff12", 'acme.漢字'].each do |token|
      wrong = configuration(KURA_URL: 'http://x', KURA_TOKEN: token)
      assert_equal 1, wrong.errors.size, token.inspect
      assert_includes wrong.errors.first, 'KURA_TOKEN'
      assert_not_includes wrong.errors.first, 'acme'
    end
  end

  def test_the_local_directory_does_not_depend_on_where_redmine_was_started
    relative = configuration(KURA_URL: 'http://x', KURA_TOKEN: 'a.b', KURA_LOCAL_DIR: 'tmp/kura')
    assert_equal Rails.root.join('tmp/kura').to_s, relative.local_dir
  end
end
