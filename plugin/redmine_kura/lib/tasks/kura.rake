# frozen_string_literal: true

namespace :kura do
  desc 'Says whether Redmine can use Kura. Exits with 0 when all is well, 1 when not, 2 without KURA_URL.'
  task status: :environment do
    unless RedmineKura.active?
      puts I18n.t(:text_kura_inactive)
      exit 2
    end

    status = RedmineKura::Status.new
    status.checks.each do |check|
      puts "#{I18n.t(check.label)}: #{check.ok ? I18n.t(:text_kura_ok) : "#{I18n.t(:text_kura_not_ok)} #{check.problem}"}"
    end
    status.facts.each {|label, text| puts "#{I18n.t(label)}: #{text}"}
    exit 1 unless status.ok?
  end

  desc 'Writes, reads and deletes a small file in Kura.'
  task test: :environment do
    abort I18n.t(:text_kura_inactive) unless RedmineKura.active?

    steps = RedmineKura::SelfTest.new.run
    steps.each {|step| puts "#{I18n.t(step.label)}: #{step.milliseconds} ms #{step.problem}"}
    exit 1 unless steps.all?(&:ok?)
  end

  # For an MTA, 75 is "try again later". From a mailbox nothing is fetched.
  task mail: :environment do
    next unless RedmineKura.active?

    RedmineKura.client.check_token
  rescue RedmineKura::Error => e
    warn "No mail is taken: #{e.message}"
    exit 75
  end

  desc 'Removes old copies from KURA_LOCAL_DIR, and from Kura what could not be deleted before. Redmine does so by itself as well.'
  task sweep: :environment do
    next unless RedmineKura.active?

    RedmineKura.files.sweep
    RedmineKura.leftovers.delete
  end
end

%w[read receive_imap receive_pop3].each {|name| task "redmine:email:#{name}" => 'kura:mail'}
