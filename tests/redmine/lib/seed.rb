# Fills a production database with what the browser, the faults and the
# measurements need: one project with everything switched on, an administrator
# (admin/admin1234, API key "a" * 40) and somebody who sees nothing of it
# (outsider/outsider1234, API key "b" * 40). To be run by `bin/rails runner`,
# as often as one likes.
# frozen_string_literal: true

{
  'rest_api_enabled' => '1', 'jsonp_enabled' => '0', 'login_required' => '0', 'self_registration' => '0',
  'attachment_max_size' => 1_000_000.to_s, 'bulk_download_max_size' => 1_000_000.to_s,
  'thumbnails_enabled' => '1', 'default_language' => 'en', 'text_formatting' => 'textile',
  'force_default_language_for_anonymous' => '1', 'default_projects_public' => '0'
}.each { |name, value| Setting[name] = value }

def user(login, key, attributes)
  user = User.find_by_login(login) || User.new { |u| u.login = login }
  user.password = user.password_confirmation = "#{login}1234"
  user.must_change_passwd = false
  user.assign_attributes(attributes)
  user.save!
  Token.where(user_id: user.id, action: 'api').delete_all
  Token.create!(user: user, action: 'api').update_column(:value, key * 40)
  user
end

admin = user('admin', 'a', firstname: 'Kura', lastname: 'Admin', mail: 'admin@example.net', admin: true, language: 'en')
user('outsider', 'b', firstname: 'Out', lastname: 'Sider', mail: 'outsider@example.net', admin: false, language: 'en')

User.current = admin
project = Project.find_by_identifier('kura') || Project.new(identifier: 'kura')
project.name = 'Kura'
project.is_public = false
project.enabled_module_names = Redmine::AccessControl.available_project_modules.map(&:to_s)
project.trackers = Tracker.all.to_a
project.save!
unless project.members.exists?(user_id: admin.id)
  project.members << Member.new(principal: admin, roles: [Role.givable.first])
end
if project.issues.empty?
  Issue.create!(project: project, tracker: project.trackers.first, author: admin, subject: 'First',
                priority: IssuePriority.first, status: IssueStatus.first)
end
