# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

class KuraAttachmentTest < ActiveSupport::TestCase
  include KuraTestHelper
  fixtures :users, :email_addresses, :projects, :issues, :trackers, :attachments,
           :enabled_modules, :roles, :members, :member_roles

  def test_an_upload_is_stored_in_kura_and_nowhere_else
    content = fresh_content
    attachment = create_attachment(content)
    assert kura?(attachment.kura_key)
    assert_equal Digest::SHA256.hexdigest(content), attachment.digest
    assert_equal 2000, attachment.filesize
    assert_not File.exist?(File.join(Attachment.storage_path, attachment.kura_key))
    assert_equal content, File.binread(attachment.diskfile)
    assert attachment.readable?
  end

  def test_names_are_those_of_redmine
    { 'short.txt' => /\A\d{12}_short\.txt\z/, '漢字.txt' => /\A\d{12}_\h{32,}\.txt\z/ }.each do |filename, pattern|
      expected = nil
      Attachment.create_diskfile(filename) {|file| expected = File.basename(file.path)}
      attachment = create_attachment(fresh_content, filename: filename)
      assert_match pattern, attachment.disk_filename
      assert_equal expected[13..-1], attachment.disk_filename[13..-1]
    end
    assert_empty Dir.children(RedmineKura.files.names_directory)
  end

  def test_a_name_that_a_file_on_this_disk_has_is_passed_over
    directory = Date.current.strftime('%Y/%m')
    path = Attachment.create_diskfile('same.txt', directory, &:path)
    taken = File.basename(path)
    RedmineKura::Names.stubs(:propose).returns(taken)
    attachment = create_attachment(fresh_content, filename: 'same.txt')
    assert_equal taken.sub(/\A\d+/, &:succ), attachment.disk_filename
  ensure
    FileUtils.rm_f(path)
  end

  def test_an_extension_that_makes_the_name_longer_than_kura_takes
    attachment = create_attachment(fresh_content, filename: "a.#{'x' * 205}")
    assert_operator attachment.disk_filename.bytesize, :<=, 230
    assert_equal "a.#{'x' * 205}", attachment.reload.filename
  end

  def test_same_names_at_the_same_time_keep_their_own_bytes
    contents = Array.new(8) { fresh_content }
    stored = contents.map do |content|
      Thread.new do
        RedmineKura.client.store(RedmineKura::Upload.new(content), directory: '2026/11', name: RedmineKura::Names.propose('same.bin'),
                                                                  filename: 'same.bin', content_type: 'text/plain')
      end
    end.map(&:value)
    assert_equal contents, stored.map {|answer| RedmineKura.client.open_file(answer['key']).read}
  end

  def test_a_string_from_a_mail
    attachment = Attachment.create!(file: 'Grüße 漢字', filename: 'a.txt', author: User.find(1))
    assert_equal 'Grüße 漢字'.bytesize, attachment.filesize
    assert_equal 'Grüße 漢字', File.read(attachment.diskfile)
  end

  def test_nothing_is_stored_when_the_row_is_not_valid
    RedmineKura.client.expects(:store).never
    with_settings attachment_max_size: 0 do
      assert_not Attachment.new(file: mock_upload('x', 'a.txt'), author: User.find(1)).save
    end
  end

  def test_the_file_is_stored_before_the_transaction_opens
    open_at_upload = nil
    before = Attachment.connection.open_transactions
    RedmineKura.client.stubs(:store).with do
      open_at_upload = Attachment.connection.open_transactions
      true
    end.returns('disk_directory' => '2026/11', 'disk_filename' => 'x.txt', 'digest' => 'a' * 64, 'size' => 1)
    create_attachment('x')
    assert_equal before, open_at_upload
  end

  def test_a_rolled_back_upload_leaves_nothing_in_kura
    key = nil
    Attachment.transaction do
      attachment = create_attachment(fresh_content)
      key = attachment.kura_key
      assert kura?(key)
      raise ActiveRecord::Rollback
    end
    assert_not kura?(key)
  end

  def test_an_insert_that_fails_leaves_nothing_in_kura
    attachment = Attachment.new(file: mock_upload(fresh_content, 'a.txt'), author: User.find(1))
    key = nil
    attachment.define_singleton_method(:_create_record) do |*|
      key = kura_key
      raise ActiveRecord::StatementInvalid, 'the database is gone'
    end
    assert_raises(ActiveRecord::StatementInvalid) { attachment.save }
    assert_match(/_a\.txt\z/, key)
    assert_not kura?(key)
  end

  def test_a_create_that_a_callback_stops_leaves_nothing_in_kura
    attachment = Attachment.new(file: mock_upload(fresh_content, 'a.txt'), author: User.find(1))
    key = nil
    attachment.define_singleton_method(:files_to_final_location) do
      super()
      key = kura_key
      throw :abort
    end
    assert_not attachment.save
    assert_match(/_a\.txt\z/, key)
    assert_not kura?(key)
  end

  def test_a_copy_that_cannot_be_created_does_not_take_the_file_from_the_original
    attachment = create_attachment(fresh_content)
    copy = attachment.copy
    copy.define_singleton_method(:_create_record) {|*| raise ActiveRecord::StatementInvalid, 'the database is gone'}
    assert_raises(ActiveRecord::StatementInvalid) { copy.save }
    assert kura?(attachment.kura_key)
  end

  def test_the_file_goes_with_its_last_reference
    attachment = create_attachment(fresh_content)
    copy = attachment.copy
    copy.save!
    path = attachment.diskfile
    attachment.destroy
    assert kura?(copy.kura_key)
    copy.destroy
    assert_not kura?(copy.kura_key)
    assert_not File.exist?(path)
  end

  def test_equal_files_are_kept_once_and_none_is_downloaded
    content = fresh_content
    first = create_attachment(content, filename: 'a.txt')
    RedmineKura.client.expects(:open_file).never
    deleted = nil
    RedmineKura.client.stubs(:delete_file).with {|key| deleted = key}
    second = create_attachment(content, filename: 'b.txt')
    assert_equal first.kura_key, second.reload.kura_key
    assert_match(/_b\.txt\z/, deleted)
  end

  def test_a_file_that_was_lost_is_not_reused
    content = fresh_content
    first = create_attachment(content, filename: 'a.txt')
    RedmineKura.client.delete_file(first.kura_key)
    second = create_attachment(content, filename: 'b.txt')
    assert_not_equal first.kura_key, second.reload.kura_key
    assert kura?(second.kura_key)
  end

  def test_a_file_whose_bytes_were_replaced_is_not_reused
    content = fresh_content
    first = create_attachment(content, filename: 'a.txt')
    put = Net::HTTP::Put.new("/v1/files/#{first.kura_key}")
    RedmineKura.client.send(:send_upload, put, RedmineKura::Upload.new(fresh_content))
    second = create_attachment(content, filename: 'b.txt')
    assert_not_equal first.kura_key, second.reload.kura_key
  end

  def test_a_dead_or_stalled_kura_gives_an_error_and_no_row
    [:with_dead_kura, :with_stalled_kura].each do |trouble|
      attachment = Attachment.new(file: mock_upload('x', 'a.txt'), author: User.find(1))
      send(trouble) do
        taken = seconds { assert_no_difference('Attachment.count') { assert_not attachment.save } }
        assert_operator taken, :<, 3
      end
      assert_equal [I18n.t(:error_kura_unavailable)], attachment.errors.full_messages
      assert attachment.save, 'by itself when Kura is back'
      assert_equal 'x', File.read(attachment.diskfile)
    end
  end

  def test_save_with_a_bang_raises_what_redmine_expects
    with_dead_kura do
      assert_raises(ActiveRecord::RecordInvalid) { create_attachment('x') }
    end
  end

  def test_nothing_is_deleted_while_kura_is_dead
    attachment = create_attachment(fresh_content)
    with_dead_kura do
      assert_no_difference('Attachment.count') { assert_raises(RedmineKura::Error::Unavailable) { attachment.destroy } }
    end
    assert kura?(attachment.kura_key)
    assert_difference('Attachment.count', -1) { Attachment.find(attachment.id).destroy }
    assert_not kura?(attachment.kura_key)
  end

  def test_trouble_never_passes_for_a_missing_file
    attachment = create_attachment(fresh_content)
    with_dead_kura do
      assert_raises(RedmineKura::Error::Unavailable) { attachment.readable? }
      assert_raises(RedmineKura::Error::Unavailable) { attachment.diskfile }
    end
  end

  def test_a_file_on_this_disk_is_used_without_asking_kura
    attachment = Attachment.find(20)
    path = File.join(Attachment.storage_path, attachment.disk_directory.to_s, attachment.disk_filename)
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, 'legacy')
    with_dead_kura do
      assert attachment.readable?
      assert_equal path, attachment.diskfile
    end
  ensure
    FileUtils.rm_f(path)
  end

  def test_a_file_that_is_nowhere_has_redmines_own_path
    attachment = Attachment.find(3)
    assert_not attachment.readable?
    assert_equal File.join(Attachment.storage_path, '2006/07', attachment.disk_filename), attachment.diskfile
  end

  def test_create_diskfile_still_gives_a_file_on_this_disk
    path = Attachment.create_diskfile('other-plugin.txt') do |file|
      file.write('x')
      file.path
    end
    assert_equal Attachment.storage_path, File.dirname(path)
  ensure
    File.delete(path)
  end

  def test_moving_to_the_target_directory_moves_all_that_share_the_file
    attachment = create_attachment(fresh_content)
    copy = attachment.copy
    copy.save!
    root = attachment.disk_filename
    RedmineKura.client.move(attachment.kura_key, root)
    Attachment.where(id: [attachment.id, copy.id]).update_all(disk_directory: '')
    Attachment.move_from_root_to_target_directory
    [attachment, copy].each do |moved|
      assert_match %r{\A\d{4}/\d{2}\z}, moved.reload.disk_directory
      assert moved.readable?
    end
    assert_not kura?(root)
  end

  def test_digests_are_updated_without_a_download
    content = fresh_content
    attachment = create_attachment(content)
    attachment.update_column(:digest, Digest::MD5.hexdigest(content))
    RedmineKura.client.expects(:open_file).never
    Attachment.update_digests_to_sha256
    assert_equal Digest::SHA256.hexdigest(content), attachment.reload.digest
  end

  def test_prune
    attachment = Attachment.create!(file: mock_upload(fresh_content, 'a.txt'), author_id: 1, created_on: 2.days.ago)
    Attachment.prune
    assert_not kura?(attachment.kura_key)
  end

  def test_archive_for_other_callers_is_a_string
    attachments = [create_attachment('one', filename: 'a.txt'), create_attachment('two', filename: 'a.txt'), Attachment.find(3)]
    zip = Attachment.archive_attachments(attachments)
    found = {}
    Zip::InputStream.open(StringIO.new(zip)) do |io|
      while (entry = io.get_next_entry)
        found[entry.name] = io.read
      end
    end
    assert_equal({ 'a.txt' => 'one', 'a(1).txt' => 'two' }, found)
  end

  def test_a_thumbnail_is_a_file_on_this_disk
    attachment = create_attachment(picture, filename: 'a.png')
    path = attachment.thumbnail(size: 120)
    assert_equal "#{attachment.digest}_#{attachment.filesize}_150.thumb", File.basename(path)
    assert_equal [150, 100], File.binread(path)[16, 8].unpack('NN')
  end

  def test_thumbnails_need_no_imagemagick
    Redmine::Thumbnail.stubs(:convert_available?).returns(false)
    assert create_attachment(picture, filename: 'a.png').thumbnailable?
    assert_not create_attachment(picture, filename: 'a.txt').thumbnailable?
  end

  def test_what_is_no_image_has_no_thumbnail
    assert_nil create_attachment('not a picture', filename: 'a.png').thumbnail
  end

  def test_clearing_thumbnails
    path = create_attachment(picture, filename: 'a.png').thumbnail
    RedmineKura.client.expects(:clear_thumbnails).with
    Attachment.clear_thumbnails
    assert_not File.exist?(path)
  end

  def test_a_disk_that_refuses_is_said_readably
    RedmineKura::Names.stubs(:create_diskfile).raises(Errno::EROFS)
    attachment = Attachment.new(file: mock_upload('x', 'a.txt'), author: User.find(1))
    assert_not attachment.save
    assert_includes attachment.errors.full_messages, I18n.t(:error_kura_misconfigured)
  end

  def test_something_else_that_says_yes_has_not_stored_a_file
    with_fake_kura(->(socket, _head) { respond(socket, 200, {}, '{"status":"ok"}') }) do
      assert_no_difference('Attachment.count') { assert_raises(ActiveRecord::RecordInvalid) { create_attachment('x') } }
    end
  end
end
