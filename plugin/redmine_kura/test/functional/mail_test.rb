# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)
require 'rake'

# Mails with files: kept, or left to whoever delivers them. Redmine takes every exception for a mail that
# is no good: its rake tasks then end well and its web service says 422, which is sent back to the sender.
class KuraMailTest < Redmine::IntegrationTest
  include KuraTestHelper
  fixtures :users, :email_addresses, :user_preferences, :projects, :issues, :issue_statuses, :trackers,
           :projects_trackers, :enabled_modules, :roles, :members, :member_roles, :enumerations, :workflows

  RAW = <<~MAIL.gsub("\n", "\r\n")
    From: jsmith@somenet.foo
    To: redmine@example.net
    Subject: A mail with a file
    MIME-Version: 1.0
    Content-Type: multipart/mixed; boundary=b

    --b
    Content-Type: text/plain

    Hello
    --b
    Content-Type: text/plain
    Content-Disposition: attachment; filename*=UTF-8''%E6%BC%A2%E5%AD%97.txt

    the file
    --b--
  MAIL

  def deliver
    with_settings mail_handler_api_enabled: 1, mail_handler_api_key: 'secret' do
      post '/mail_handler', params: { key: 'secret', email: RAW, issue: { project: 'onlinestore' } }
    end
  end

  # What `rake redmine:email:read` does before it reads; its exit status.
  def rake
    Rails.application.load_tasks unless Rake::Task.task_defined?('kura:mail')
    Rake::Task['kura:mail'].execute
    0
  rescue SystemExit => e
    e.status
  end

  def test_a_mail_with_a_file
    assert_difference('Issue.count') { deliver }
    assert_response 201
    attachment = Issue.order(:id).last.attachments.first
    assert_equal ['漢字.txt', 'the file'], [attachment.filename, File.read(attachment.diskfile).strip]
    assert_equal 0, rake
  end

  def test_while_kura_is_dead_it_is_to_be_delivered_again
    with_dead_kura do
      assert_no_difference('Issue.count') { deliver }
      assert_response 503
      capture_io { assert_equal 75, rake }
    end
  end

  def test_with_a_wrong_token_it_is_to_be_delivered_again
    with_kura(KURA_TOKEN: 'default.wrong') do
      assert_no_difference('Issue.count') { deliver }
      assert_response 503
      capture_io { assert_equal 75, rake }
    end
  end

  def test_no_task_fetches_mails_that_cannot_be_kept
    rake
    %w[read receive_imap receive_pop3].each do |name|
      assert_includes Rake::Task["redmine:email:#{name}"].prerequisites, 'kura:mail'
    end
  end
end
