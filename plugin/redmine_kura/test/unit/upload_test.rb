# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

class KuraUploadTest < ActiveSupport::TestCase
  include KuraTestHelper

  def test_a_string_is_measured_in_bytes
    assert_equal 6, RedmineKura::Upload.new('漢字').size
  end

  def test_a_file_is_read_from_its_beginning
    Tempfile.create('upload') do |file|
      file.write('abc')
      file.flush
      assert_equal 'abc', RedmineKura::Upload.new(file).read
    end
  end

  def test_the_size_that_a_strange_object_claims_is_not_believed
    upload = RedmineKura::Upload.new(mock_file(filename: 'x', content: 'abcd', size: 32))
    assert_nil upload.size
    assert_equal 'abcd', upload.read
    assert_nil upload.read
  end

  def test_a_large_file_is_digested_beforehand
    content = fresh_content(6 * 1024 * 1024)
    upload = RedmineKura::Upload.new(StringIO.new(content))
    assert_equal Digest::SHA256.hexdigest(content), upload.digest
    assert_equal content, IO.copy_stream(upload, read = StringIO.new(String.new)) && read.string
    assert_nil RedmineKura::Upload.new('small').digest
  end

  def test_a_file_that_becomes_shorter_is_an_error
    Tempfile.create('upload') do |file|
      file.write('abc')
      file.flush
      upload = RedmineKura::Upload.new(file)
      file.truncate(1)
      upload.read
      assert_raises(RedmineKura::Error::Broken) { upload.read }
    end
  end
end
