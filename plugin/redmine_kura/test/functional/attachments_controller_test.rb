# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

# Downloads as a web server sees them: through the whole of Rails.
class KuraDownloadsTest < Redmine::IntegrationTest
  include KuraTestHelper
  fixtures :users, :email_addresses, :user_preferences, :projects, :issues, :issue_statuses, :trackers,
           :projects_trackers, :enabled_modules, :roles, :members, :member_roles, :attachments, :workflows,
           :enumerations, :versions

  CSP = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

  def setup
    super
    log_user('admin', 'admin')
  end

  def attach(content = fresh_content, filename: 'a.bin', **attributes)
    create_attachment(content, filename: filename, **attributes)
  end

  def path(attachment)
    "/attachments/download/#{attachment.id}/#{ERB::Util.url_encode(attachment.filename)}"
  end

  def test_download
    content = fresh_content(300_000)
    attachment = attach(content, filename: '漢字.bin')
    get path(attachment)
    assert_response :success
    assert_equal content, response.body.b
    assert_equal '300000', response.headers['Content-Length']
    assert_equal CSP, response.headers['Content-Security-Policy']
    assert_equal 'nosniff', response.headers['X-Content-Type-Options']
    assert_includes response.headers['Content-Disposition'], "attachment; filename=\"%3F%3F.bin\"; filename*=UTF-8''%E6%BC%A2%E5%AD%97.bin"
  end

  def test_a_download_makes_one_request_to_kura
    attachment = attach
    RedmineKura.client.expects(:head_file).never
    get path(attachment)
    assert_response :success
  end

  def test_range
    attachment = attach('0123456789')
    get path(attachment), headers: { 'Range' => 'bytes=2-4' }
    assert_response 206
    assert_equal '234', response.body
    assert_equal 'bytes 2-4/10', response.headers['Content-Range']
    get path(attachment), headers: { 'Range' => 'bytes=20-' }
    assert_response 416
    assert_equal 'bytes */10', response.headers['Content-Range']
  end

  def test_a_download_can_be_resumed_by_its_etag
    attachment = attach('0123456789')
    get path(attachment)
    etag = response.headers['ETag']
    assert_match(/\A"/, etag, 'a strong one')
    get path(attachment), headers: { 'Range' => 'bytes=5-', 'If-Range' => etag }
    assert_response 206
    assert_equal '56789', response.body
    get path(attachment), headers: { 'Range' => 'bytes=5-', 'If-Range' => '"another"' }
    assert_response 200
    assert_equal '0123456789', response.body
  end

  def test_not_modified_does_not_ask_kura
    attachment = attach
    get path(attachment)
    etag = response.headers['ETag']
    with_dead_kura do
      [etag, "W/#{etag}", "\"x\", #{etag}"].each do |tags|
        get path(attachment), headers: { 'If-None-Match' => tags }
        assert_response 304, tags
      end
    end
  end

  def test_head
    attachment = attach('0123456789')
    head path(attachment)
    assert_response :success
    assert_equal '10', response.headers['Content-Length']
    assert_equal '', response.body
  end

  def test_pdf_is_shown_and_everything_else_is_saved
    get path(attach('%PDF-1.4', filename: 'a.pdf'))
    assert_match(/\Ainline/, response.headers['Content-Disposition'])
    get path(attach('<b>', filename: 'a.html'))
    assert_match(/\Aattachment/, response.headers['Content-Disposition'])
  end

  def test_downloads_are_counted
    attachment = attach(fresh_content, container: Version.find(1))
    assert_difference(-> { attachment.reload.downloads }, 1) { get path(attachment) }
  end

  def test_who_may_not_see_it_does_not_get_it
    attachment = attach(fresh_content, container: Issue.find(4))
    reset!
    log_user('rhill', 'foo')
    get path(attachment)
    assert_response 403
  end

  def test_a_missing_file_is_404
    attachment = attach
    RedmineKura.client.delete_file(attachment.kura_key)
    get path(attachment)
    assert_response 404
    get "/attachments/#{attachment.id}"
    assert_response 404
  end

  def test_a_dead_kura_is_503_with_a_readable_page
    attachment = attach('text', filename: 'a.txt')
    with_dead_kura do
      [path(attachment), "/attachments/#{attachment.id}", '/attachments/issues/1/download'].each do |url|
        get url
        assert_response 503, url
        assert_select '#errorExplanation', text: I18n.t(:error_kura_unavailable, locale: :en)
        assert_equal '10', response.headers['Retry-After']
      end
    end
    get path(attachment)
    assert_response :success
  end

  def test_the_page_is_in_the_readers_language
    attachment = attach
    User.find(1).update!(language: 'ja')
    with_dead_kura { get path(attachment) }
    assert_select '#errorExplanation', text: I18n.t(:error_kura_unavailable, locale: :ja)
  end

  def test_ticket
    attachment = attach(fresh_content, filename: '漢字.pdf', container: Issue.find(4))
    with_kura(KURA_DELIVERY: 'ticket') do
      get path(attachment)
      assert_response 302
      location = response.headers['Location']
      assert_match %r{\A/kura/t/[\w-]+\.[\w-]+/%E6%BC%A2%E5%AD%97\.pdf\z}, location
      assert_equal 'no-store', response.headers['Cache-Control']
      assert_nil response.headers['ETag']
      answer = Net::HTTP.get_response(URI.join(RedmineKura.configuration.url, location))
      assert_equal '200', answer.code
      assert_equal attachment.filesize, answer.body.bytesize
      assert_match(/\Ainline/, answer['Content-Disposition'])
      assert_equal CSP, answer['Content-Security-Policy']
      reset!
      get path(attachment)
      assert_no_match %r{/kura/t/}, response.headers['Location'].to_s, 'not for those who may not'
    end
  end

  def test_ticket_below_a_relative_url_root
    attachment = attach
    Redmine::Utils.stubs(:relative_url_root).returns('/redmine')
    with_kura(KURA_DELIVERY: 'ticket') { get path(attachment) }
    assert_match %r{\A/redmine/kura/t/}, response.headers['Location']
  end

  def test_x_accel
    attachment = attach
    with_kura(KURA_DELIVERY: 'x_accel') do
      get path(attachment)
      assert_response 200
      assert_match %r{\A/kura/t/}, response.headers['X-Accel-Redirect']
      assert_nil response.headers['Content-Disposition'], "Kura's own is sent"
      assert_equal '', response.body
    end
  end

  def test_x_sendfile_sends_a_leased_file_and_streams_without_one
    attachment = attach('0123456789')
    with_kura(KURA_DELIVERY: 'x_sendfile', KURA_CACHE_DIR: '/nowhere') do
      RedmineKura.files.stubs(:leased).returns('/nowhere/leases/a.bin')
      get path(attachment)
      assert_equal '/nowhere/leases/a.bin', response.headers['X-Sendfile']
      RedmineKura.files.unstub(:leased)
      get path(attachment)
      assert_nil response.headers['X-Sendfile']
      assert_equal '0123456789', response.body
    end
  end

  def test_a_file_on_this_disk_is_sent_by_redmine
    attachment = Attachment.find(4)
    file = File.join(Attachment.storage_path, attachment.disk_directory, attachment.disk_filename)
    FileUtils.mkdir_p(File.dirname(file))
    File.write(file, 'legacy')
    with_dead_kura { get path(attachment) }
    assert_response :success
    assert_equal 'legacy', response.body
  ensure
    FileUtils.rm_f(file)
  end

  def test_show_text
    attachment = attach('hello <b>', filename: 'a.txt')
    get "/attachments/#{attachment.id}"
    assert_response :success
    assert_includes response.body, 'hello &lt;b&gt;'
  end

  def test_thumbnail
    attachment = attach(picture, filename: 'a.png')
    url = "/attachments/thumbnail/#{attachment.id}/200"
    get url
    assert_response :success
    assert_equal 'image/png', response.media_type
    assert_equal [200, 133], response.body.b[16, 8].unpack('NN')
    etag = response.headers['ETag']
    FileUtils.rm_rf(Attachment.thumbnails_storage_path)
    with_dead_kura do
      # The directory, and with it Redmine's ETag, is a matter of the token, which is the same.
      get url, headers: { 'If-None-Match' => etag }
      assert_response 304
      get url
      assert_response 503
    end
    get "/attachments/thumbnail/#{attach('no picture', filename: 'a.png').id}"
    assert_response 404
  end

  def test_a_repeated_thumbnail_does_not_ask_kura
    attachment = attach(picture, filename: 'a.png')
    get "/attachments/thumbnail/#{attachment.id}"
    with_dead_kura { get "/attachments/thumbnail/#{attachment.id}" }
    assert_response :success
  end

  def test_download_all
    issue = Issue.generate!
    attach('one', filename: 'a.txt', container: issue)
    attach('two', filename: 'a.txt', container: issue)
    gone = attach('three', filename: 'b.txt', container: issue)
    RedmineKura.client.delete_file(gone.kura_key)
    get "/attachments/issues/#{issue.id}/download"
    assert_response :success
    assert_equal 'application/zip', response.media_type
    assert_equal response.body.bytesize.to_s, response.headers['Content-Length']
    assert_includes response.headers['Content-Disposition'], "issue-#{issue.id}-attachments.zip"
    Tempfile.create('zip') do |file|
      file.binmode
      file.write(response.body)
      file.close
      Zip::File.open(file.path) {|zip| assert_equal %w[a(1).txt a.txt], zip.map(&:name).sort}
    end
  end

  def test_download_all_with_a_file_on_this_disk
    issue = Issue.generate!
    attach('one', filename: 'a.txt', container: issue)
    legacy = Attachment.create_diskfile('b.txt') {|file| file.write('two') && file.path}
    Attachment.where(id: 1).update_all(container_type: 'Issue', container_id: issue.id, filename: 'b.txt',
                                       disk_filename: File.basename(legacy), disk_directory: nil)
    get "/attachments/issues/#{issue.id}/download"
    assert_response :success
    names = []
    Zip::InputStream.open(StringIO.new(response.body)) do |io|
      while (entry = io.get_next_entry)
        names << entry.name
      end
    end
    assert_equal %w[a.txt b.txt], names.sort
  ensure
    FileUtils.rm_f(legacy)
  end

  def test_upload_over_rest
    with_settings rest_api_enabled: '1' do
      content = fresh_content(7_000_000)
      with_settings attachment_max_size: 10_000 do
        post '/uploads.json?filename=a.bin', params: content,
                                             headers: { 'CONTENT_TYPE' => 'application/octet-stream' }.merge(credentials('admin'))
      end
      assert_response :created
      attachment = Attachment.order(:id).last
      assert_equal content, RedmineKura.client.open_file(attachment.kura_key).read
      with_dead_kura do
        post '/uploads.json?filename=a.bin', params: 'x',
                                             headers: { 'CONTENT_TYPE' => 'application/octet-stream' }.merge(credentials('admin'))
      end
      assert_response 422
      assert_equal [I18n.t(:error_kura_unavailable, locale: :en)], JSON.parse(response.body)['errors']
    end
  end

  def test_deleting_while_kura_is_dead
    attachment = attach
    with_dead_kura do
      assert_no_difference('Attachment.count') { delete "/attachments/#{attachment.id}" }
      assert_response 503
    end
    assert_difference('Attachment.count', -1) { delete "/attachments/#{attachment.id}" }
    assert_not kura?(attachment.kura_key)
  end

  def test_programs_are_told_as_well
    attachment = attach
    with_settings rest_api_enabled: '1' do
      with_dead_kura { delete "/attachments/#{attachment.id}.json", headers: credentials('admin') }
    end
    assert_response 503
    assert_equal [I18n.t(:error_kura_unavailable, locale: :en)], JSON.parse(response.body)['errors']
    assert_equal '10', response.headers['Retry-After']
  end

  def test_deleting_when_kura_was_alive_a_moment_ago
    first = attach
    second = attach
    delete "/attachments/#{first.id}"
    RedmineKura.client.stubs(:call).raises(RedmineKura::Error::Unavailable, 'killed')
    assert_no_difference('Attachment.count') { delete "/attachments/#{second.id}" }
    assert_response 503
  end

  def test_deleting_many_files_asks_once_whether_kura_is_there
    issue = Issue.generate!
    3.times { attach(fresh_content, container: issue) }
    asked = []
    RedmineKura.client.stubs(:call).with {|request, *| asked << request.path}
    delete "/issues/#{issue.id}", params: { todo: 'destroy' }
    assert_nil Issue.find_by(id: issue.id)
    assert_equal 1, asked.count('/readyz')
    assert_equal 3, asked.grep(%r{\A/v1/files/}).size
  end

  def test_a_content_type_adds_no_headers
    attachment = attach
    attachment.update_column(:content_type, "text/plain\r\nX-Evil: 1")
    %w[stream ticket x_accel].each do |delivery|
      with_kura(KURA_DELIVERY: delivery) { get path(attachment) }
      assert_operator response.status, :<, 500, delivery
      assert_nil response.headers['X-Evil']
      assert_no_match(/[\r\n]/, "#{response.headers['Location']}#{response.headers['X-Accel-Redirect']}")
    end
  end

  def test_an_empty_file
    with_settings rest_api_enabled: '1' do
      post '/uploads.json?filename=empty.txt', params: '', headers: { 'CONTENT_TYPE' => 'application/octet-stream' }.merge(credentials('admin'))
    end
    assert_response :created
    attachment = Attachment.order(:id).last
    get path(attachment)
    assert_response :success
    assert_equal '', response.body
    assert_equal '', File.read(attachment.diskfile)
  end
end
