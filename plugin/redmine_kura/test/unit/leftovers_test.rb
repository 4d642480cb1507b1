# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

class KuraLeftoversTest < ActiveSupport::TestCase
  include KuraTestHelper
  fixtures :users, :email_addresses, :projects, :issues, :trackers, :attachments

  # Kura's store fails between the question whether it is there and the deletion.
  def destroy_while_the_store_fails(attachment)
    RedmineKura.client.stubs(:delete_file).raises(RedmineKura::Error::Unavailable, 'storage_unavailable')
    attachment.destroy
    RedmineKura.client.unstub(:delete_file)
  end

  def notes
    Dir.glob(File.join(RedmineKura.files.leftovers_directory, '*'))
  end

  def age_notes
    notes.each {|note| File.utime(Time.now - 100, Time.now - 100, note)}
  end

  def test_what_could_not_be_deleted_is_deleted_later
    attachment = create_attachment(fresh_content)
    destroy_while_the_store_fails(attachment)
    assert kura?(attachment.kura_key)
    RedmineKura.leftovers.delete
    assert kura?(attachment.kura_key), 'not at once: see WAIT_SECONDS'
    age_notes
    RedmineKura.leftovers.delete
    assert_not kura?(attachment.kura_key)
    assert_empty notes
  end

  def test_a_name_that_has_a_row_again_is_left_alone
    attachment = create_attachment(fresh_content)
    other = attachment.copy
    destroy_while_the_store_fails(attachment)
    other.save!
    age_notes
    RedmineKura.leftovers.delete
    assert kura?(other.kura_key)
    assert_empty notes
  end

  def test_while_the_store_fails_notes_are_kept
    attachment = create_attachment(fresh_content)
    destroy_while_the_store_fails(attachment)
    age_notes
    # The same notes, and a Kura that is not there.
    RedmineKura.client.stubs(:delete_file).raises(RedmineKura::Error::Unavailable, 'storage_unavailable')
    RedmineKura.leftovers.delete
    assert_equal 1, notes.size
  ensure
    notes.each {|note| File.delete(note)}
  end

  def test_one_that_can_never_be_deleted_does_not_keep_the_others
    attachments = Array.new(3) { create_attachment(fresh_content) }
    attachments.each {|attachment| destroy_while_the_store_fails(attachment)}
    age_notes
    never = File.read(Dir.glob(File.join(RedmineKura.files.leftovers_directory, '*')).first)
    RedmineKura.client.stubs(:delete_file).with(never).raises(RedmineKura::Error::Misconfigured, 'storage_forbidden')
    (attachments.map(&:kura_key) - [never]).each {|key| RedmineKura.client.expects(:delete_file).with(key)}
    RedmineKura.leftovers.delete
    assert_equal 1, notes.size
  ensure
    RedmineKura.client.unstub(:delete_file)
    attachments.each {|attachment| RedmineKura.client.delete_file(attachment.kura_key)}
    notes.each {|note| File.delete(note)}
  end
end
