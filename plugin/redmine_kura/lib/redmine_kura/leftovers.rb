# frozen_string_literal: true

require 'fileutils'
require 'openssl'

module RedmineKura
  # Files in Kura that no row names any more and that could not be deleted, because the store failed
  # after Redmine had asked whether it was there. They are noted beside the local copies and deleted
  # later, by any process that stores a file. What is noted in a container that ends before is left
  # to `kura gc`.
  class Leftovers
    # A deletion whose answer was lost may have succeeded, and the name may be another's now. After
    # this time that other has its row.
    WAIT_SECONDS = 60

    def initialize(files, client)
      @files = files
      @client = client
      @tried_at = RedmineKura.clock
    end

    def note(key, error)
      RedmineKura.logger.error("#{key} is of no use any more and could not be deleted yet: #{error.message}")
      File.write(File.join(@files.leftovers_directory, OpenSSL::Digest.hexdigest('SHA256', key)), key)
    rescue SystemCallError, Error => e
      RedmineKura.logger.error("#{key} could not be noted: #{e.message}")
    end

    # Looks for notes now and then only.
    def delete_now_and_then
      delete if RedmineKura.clock - @tried_at > WAIT_SECONDS
    end

    def delete
      @tried_at = RedmineKura.clock
      Dir.glob(File.join(@files.leftovers_directory, '*')).each do |note|
        delete_noted(note) if File.mtime(note) < Time.now - WAIT_SECONDS
      rescue SystemCallError, Error => e
        RedmineKura.logger.info("A leftover is tried again later: #{e.message}")
        # Whoever is storing a file must not wait for one time-out after another.
        break if e.is_a?(Error::Unavailable)
      end
    rescue Error => e
      RedmineKura.logger.info("Leftovers are tried again later: #{e.message}")
    end

    private

    def delete_noted(note)
      key = File.read(note)
      @client.delete_file(key) if Attachment.where(disk_filename: File.basename(key)).none?
      FileUtils.rm_f(note)
    end
  end
end
