# frozen_string_literal: true

module RedmineKura
  module Patches
    # Where an attachment's bytes are. What lies under Redmine's own `files` is used from there, by
    # Redmine's own code; everything else is Kura's.
    module AttachmentReadingPatch
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

      private

      def kura_path_mode(mode)
        before = @kura_path_mode
        @kura_path_mode = mode
        yield
      ensure
        @kura_path_mode = before
      end
    end
  end
end
