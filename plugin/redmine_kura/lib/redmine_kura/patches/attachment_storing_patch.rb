# frozen_string_literal: true

module RedmineKura
  module Patches
    # A new attachment's file goes to Kura before the transaction opens, and is deleted again when
    # there will be no row for it.
    module AttachmentStoringPatch
      def save(**options, &block)
        kura_store_first(options) { super }
      rescue Error => e
        kura_not_stored(e)
        false
      end

      def save!(**options, &block)
        kura_store_first(options) { super }
      rescue Error => e
        kura_not_stored(e)
        raise ActiveRecord::RecordInvalid, self
      end

      # For a row that is created in another way than by saving it.
      def files_to_final_location
        kura_store if @temp_file
        super
      end

      private

      def kura_store_first(options)
        kura_store if new_record? && @temp_file && (options[:validate] == false || valid?(options[:context]))
        yield
      ensure
        # Not saved, and no rollback has said so: nobody will ever ask for the file.
        kura_discard if new_record?
      end

      def kura_store
        logger&.info("Saving attachment '#{filename}' (#{@temp_file.size} bytes) in Kura")
        answer = RedmineKura.client.store(
          Upload.new(@temp_file), directory: target_directory, name: kura_proposed_name,
          filename: filename, content_type: kura_content_type
        )
        self.disk_directory = answer['disk_directory']
        self.disk_filename = answer['disk_filename']
        self.digest = answer['digest']
        self.filesize = answer['size']
        @temp_file = nil
        @kura_stored_key = kura_key
        RedmineKura.leftovers.delete_now_and_then
      end

      def kura_content_type
        type = content_type.presence || Redmine::MimeType.of(filename)
        %r{\A[\x21-\x7e]+/[\x20-\x7e]+\z}.match?(type.to_s) ? type : 'application/octet-stream'
      end

      # A file of this name on this disk would be taken for the one in Kura.
      def kura_proposed_name
        name = Names.propose(filename)
        name = name.sub(/\A\d+/, &:succ) while File.exist?(File.join(self.class.storage_path, target_directory, name))
        name
      end

      def kura_not_stored(error)
        logger&.error("Attachment '#{filename}' was not stored: #{error.message}")
        errors.add(:base, error.to_human)
      end

      # Deletes what this object has stored, once: the name may be another's a moment later.
      def kura_discard
        key = @kura_stored_key
        @kura_stored_key = nil
        return if key.nil?

        RedmineKura.files.forget_file(key, digest)
        self.disk_filename = ''
        RedmineKura.client.delete_file(key)
      rescue Error => e
        RedmineKura.leftovers.note(key, e)
      end
    end
  end
end
