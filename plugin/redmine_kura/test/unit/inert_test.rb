# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

# Without KURA_URL Redmine is as stock. What was prepended in this process cannot be taken back, so
# another is asked.
class KuraInertTest < ActiveSupport::TestCase
  ASK = <<~'RUBY'
    touched = [ApplicationController, AdminController, Attachment, Attachment.singleton_class, AttachmentsController,
               Import, MailHandler, Redmine::Thumbnail.singleton_class].select do |changed|
      changed.ancestors.any? {|ancestor| ancestor.name.to_s.start_with?('RedmineKura')}
    end
    print({active: RedmineKura.active?, touched: touched.map(&:inspect), thumbnails: Attachment.thumbnails_storage_path}.to_json)
  RUBY

  def test_nothing_is_changed_without_kura_url
    env = { 'KURA_URL' => nil, 'KURA_TOKEN' => nil, 'RAILS_ENV' => 'test' }
    out = IO.popen([env, RbConfig.ruby, 'bin/rails', 'runner', ASK, { chdir: Rails.root.to_s }], &:read)
    found = JSON.parse(out.lines.last)
    assert_equal [false, []], found.values_at('active', 'touched')
    assert_no_match(/kura/, found['thumbnails'].delete_prefix(Rails.root.to_s))
  end
end
