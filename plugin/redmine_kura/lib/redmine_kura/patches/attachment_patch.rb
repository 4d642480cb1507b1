# frozen_string_literal: true

module RedmineKura
  module Patches
    # Attachments keep their bytes in Kura. What still lies under Redmine's own `files` is used
    # from there, by Redmine's own code.
    module AttachmentPatch
      # Set where a missing file will show soon enough: `readable?` is then true without a look.
      attr_accessor :kura_expected

      # What Kura calls this file.
      def kura_key
        [disk_directory, disk_filename].reject(&:blank?).join('/')
      end

      # Whether the bytes are Kura's to give: they do not lie on this disk.
      def kura?
        disk_filename.present? && !File.exist?(kura_path_mode(:stock) { diskfile })
      end

      # Asks Kura, unless a copy is here.
      def kura_exists?
        RedmineKura.files.file?(kura_key, digest) || !RedmineKura.client.head_file(kura_key).nil?
      end

      # Inside the block paths are not filled: `diskfile` and `thumbnail` answer with a RemotePath
      # without asking Kura, and the file is taken to be there.
      def kura_unfilled(&block)
        kura_path_mode(:unfilled, &block)
      end

      # The file is sent to Kura before the transaction opens.
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

      # A dead Kura is noticed before the row is gone and the file can no longer be deleted.
      def destroy
        RedmineKura.client.ready! if disk_filename.present?
        super
      end

      def files_to_final_location
        kura_store if @temp_file
        super
      end

      def diskfile
        path = super
        return path if disk_filename.blank? || @kura_path_mode == :stock || File.exist?(path)
        return RemotePath.new(path) if @kura_path_mode == :unfilled

        RedmineKura.files.file(kura_key, digest) || path
      end

      def readable?
        return super unless kura?

        kura_expected || @kura_path_mode == :unfilled || kura_exists?
      end

      # Kura needs no ImageMagick.
      def thumbnailable?
        super || ((image? || is_pdf?) && kura?)
      end

      def thumbnail(options = {})
        return super unless kura?

        # Redmine's own code says which thumbnail; see ThumbnailPatch.
        path = kura_unfilled { super }
        return path if path.nil? || @kura_path_mode == :unfilled

        kura_fill_thumbnail(path)
      end

      # Fills the path that `thumbnail` gave; nil when there can be no thumbnail.
      def kura_fill_thumbnail(path)
        RedmineKura.files.thumbnail(path.to_s, kura_key)
      rescue Error::NotAnImage, Error::NotFound, Error::Conflict => e
        logger&.info("No thumbnail of #{disk_filename}: #{e.message}")
        nil
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

      def kura_path_mode(mode)
        before = @kura_path_mode
        @kura_path_mode = mode
        yield
      ensure
        @kura_path_mode = before
      end

      def kura_store_first(options)
        kura_store if new_record? && @temp_file && (options[:validate] == false || valid?(options[:context]))
        yield
      ensure
        # Not saved, and no rollback has said so: nobody will ever ask for the file.
        kura_discard if new_record?
      end

      def kura_store
        type = content_type.presence || Redmine::MimeType.of(filename)
        logger&.info("Saving attachment '#{filename}' (#{@temp_file.size} bytes) in Kura")
        answer = RedmineKura.client.store(
          Upload.new(@temp_file), directory: target_directory, name: kura_proposed_name,
          filename: filename, content_type: type =~ %r{\A[\x21-\x7e]+/[\x20-\x7e]+\z} ? type : 'application/octet-stream'
        )
        self.disk_directory = answer['disk_directory']
        self.disk_filename = answer['disk_filename']
        self.digest = answer['digest']
        self.filesize = answer['size']
        @temp_file = nil
        @kura_stored_key = kura_key
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
        logger&.error("#{key} is of no use any more and could not be deleted: #{e.message}")
      end

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
        RedmineKura.client.clear_thumbnails(digest, filesize) if digest.present? && (image? || is_pdf?)
      rescue Error => e
        # The row is gone. `kura gc` finds what is left.
        logger&.error("#{key} is of no use any more and could not be deleted: #{e.message}")
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
