# frozen_string_literal: true

module RedmineKura
  module Patches
    # What happens to a file that is in Kura already: it is moved, shared and deleted there.
    module AttachmentKeepingPatch
      # A dead Kura is noticed before the row is gone and the file can no longer be deleted.
      def destroy
        RedmineKura.client.ready! if disk_filename.present?
        super
      end

      def move_to_target_directory!
        return super unless !new_record? && kura?

        from = kura_key
        old_directory = disk_directory
        self.disk_directory = target_directory
        return if kura_key == from

        RedmineKura.client.move(from, kura_key)
        # Copies of an attachment share its file.
        Attachment.where(disk_filename: disk_filename, disk_directory: old_directory)
                  .update_all(disk_directory: disk_directory)
        clear_attribute_changes([:disk_directory])
      rescue Error::NotFound, Error::Conflict => e
        self.disk_directory = old_directory
        logger&.error("Could not move attachment #{from}: #{e.message}")
      end

      # Kura knows the digest of most files.
      def update_digest_to_sha256!
        known = RedmineKura.client.head_file(kura_key)&.[]('X-Kura-Digest') if kura?
        return super unless known && known.size == 64

        update_column :digest, known
      end

      private

      def delete_from_disk!
        kura_path_mode(:stock) { super }
        return if disk_filename.blank?
        # A copy whose creation was rolled back must not take the file from its original.
        return if new_record? && @kura_stored_key != kura_key

        kura_delete
      end

      def kura_delete
        key = kura_key
        @kura_stored_key = nil
        RedmineKura.files.forget_file(key, digest)
        RedmineKura.client.delete_file(key)
        kura_clear_thumbnails if digest.present? && (image? || is_pdf?)
      rescue Error => e
        RedmineKura.leftovers.note(key, e)
      end

      def kura_clear_thumbnails
        RedmineKura.client.clear_thumbnails(digest, filesize)
      rescue Error => e
        logger&.info("Thumbnails of #{disk_filename} were not cleared: #{e.message}")
      end

      # Core compares bytes on this disk. Kura's digests say the same without any being moved.
      def reuse_existing_file_if_possible
        @kura_stored_key = nil
        return super unless kura?

        Deduplication.new(self).run
      rescue Error => e
        logger&.info("#{disk_filename} was not deduplicated: #{e.message}")
      end
    end
  end
end
