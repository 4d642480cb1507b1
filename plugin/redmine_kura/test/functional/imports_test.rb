# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

# A CSV import whose steps run in different containers.
class KuraImportsTest < Redmine::IntegrationTest
  include KuraTestHelper
  fixtures :users, :email_addresses, :user_preferences, :projects, :issues, :issue_statuses, :trackers,
           :projects_trackers, :enabled_modules, :roles, :members, :member_roles, :enumerations, :workflows

  # As if the next request came to a container that has seen nothing of the import.
  def another_container
    FileUtils.rm_rf(File.dirname(RedmineKura.files.import_path('0')))
  end

  def upload(content)
    post '/imports', params: { type: 'IssueImport', file: mock_upload(content, 'issues.csv', 'text/csv') }
  end

  def run_import(content, encoding)
    log_user('admin', 'admin')
    upload(content)
    import = Import.order(:id).last
    another_container
    get "/imports/#{import.filename}/settings"
    assert_response :success
    post "/imports/#{import.filename}/settings", params: { import_settings: { separator: ';', wrapper: '"', encoding: encoding } }
    assert_redirected_to "/imports/#{import.filename}/mapping"
    another_container
    post "/imports/#{import.filename}/mapping",
         params: { import_settings: { mapping: { project_id: '1', tracker: 'value:1', subject: '0' } } }
    until import.reload.finished?
      another_container
      post "/imports/#{import.filename}/run"
      assert_response :redirect
    end
    import
  end

  def test_steps_on_different_containers
    { 'UTF-8' => "\uFEFFsubject;x\r\n", 'Shift_JIS' => "subject;x\r\n" }.each do |encoding, header|
      rows = Array.new(12) {|i| "件名#{i};\"改\r\n行\"\r\n"}
      content = (header + rows.join).encode(encoding)
      import = nil
      assert_difference('Issue.count', 12) { import = run_import(content, encoding) }
      assert_equal Array.new(12) {|i| "件名#{i}"}, Issue.order(:id).last(12).map(&:subject)
      assert_raises(RedmineKura::Error::NotFound) { RedmineKura.client.open_import(import.filename) }
      reset!
    end
  end

  def test_a_dead_kura_leaves_no_import
    log_user('admin', 'admin')
    with_dead_kura do
      copies = -> { Dir.children(File.dirname(RedmineKura.files.import_path('0'))).size }
      assert_no_difference(['Import.count', copies]) { upload("subject\nx\n") }
      assert_response 503
    end
  end

  def test_each_container_fetches_the_file_once
    log_user('admin', 'admin')
    upload("subject\nx\n")
    import = Import.order(:id).last
    another_container
    import.headers
    RedmineKura.client.expects(:open_import).never
    assert_equal ['subject'], Import.find(import.id).headers
  end

  def test_a_disk_that_is_full_leaves_no_import
    log_user('admin', 'admin')
    Redmine::Utils.stubs(:save_upload).raises(Errno::ENOSPC)
    assert_no_difference('Import.count') { upload("subject\nx\n") }
    assert_response 500
    assert_select '#errorExplanation', text: /#{I18n.t(:error_kura_full, locale: :en)}/
  end
end
