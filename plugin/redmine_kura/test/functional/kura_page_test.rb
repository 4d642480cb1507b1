# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

# What administrators see.
class KuraPageTest < Redmine::IntegrationTest
  include KuraTestHelper
  fixtures :users, :email_addresses, :user_preferences

  def setup
    super
    log_user('admin', 'admin')
  end

  def test_status
    get '/settings/plugin/redmine_kura'
    assert_response :success
    assert_select 'table.kura-status .icon-ok', 4
    assert_select 'table.kura-status .icon-error', 0
    assert_select 'table.kura-status', text: /#{RedmineKura.client.version}/
    assert_not_includes response.body, RedmineKura.configuration.token
  end

  def test_status_of_a_dead_or_stalled_kura
    [:with_dead_kura, :with_stalled_kura].each do |trouble|
      send(trouble) do
        assert_operator seconds { get '/settings/plugin/redmine_kura' }, :<, 3
        assert_response :success
        assert_select 'table.kura-status .icon-error', 2
      end
    end
  end

  def test_button_tests_all_and_leaves_nothing
    post '/admin/kura_test'
    assert_response :success
    assert_select 'table.kura-test .icon-ok', 5
    list = RedmineKura.client.send(:call, Net::HTTP::Get.new('/v1/files?prefix=kura-test/'))
    assert_empty JSON.parse(list.body)['files']
  end

  def test_button_says_what_is_wrong
    with_dead_kura { post '/admin/kura_test' }
    assert_select 'table.kura-test .icon-error', 1
    assert_select 'table.kura-test td', text: /#{I18n.t(:error_kura_unavailable, locale: :en)}/
  end

  def test_only_for_administrators
    reset!
    log_user('jsmith', 'jsmith')
    post '/admin/kura_test'
    assert_response 403
  end

  def test_information
    get '/admin/info'
    assert_select 'tr', text: /#{Regexp.escape(I18n.t(:text_kura_ready, locale: :en))}/ do
      assert_select '.icon-ok'
    end
    with_dead_kura { get '/admin/info' }
    assert_select 'tr', text: /#{Regexp.escape(I18n.t(:text_kura_ready, locale: :en))}/ do
      assert_select '.icon-error'
    end
  end

  def test_locales_have_the_same_keys
    keys = %w[en ja].map {|locale| YAML.load_file(File.expand_path("../../config/locales/#{locale}.yml", __dir__))[locale].keys}
    assert_equal keys.first, keys.last
  end
end
