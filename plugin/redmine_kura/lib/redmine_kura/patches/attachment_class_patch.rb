# frozen_string_literal: true

module RedmineKura
  module Patches
    # What Redmine does with many attachments at once.
    module AttachmentClassPatch
      def clear_thumbnails
        super
        RedmineKura.client.clear_thumbnails
      rescue Error::Conflict => e
        RedmineKura.logger.warn("Kura kept the thumbnails: #{e.message}")
      end

      # The ZIP as a String, as ever; a stream where the caller has asked for one.
      def archive_attachments(attachments)
        attachments.is_a?(StreamedArchive) ? attachments.open : super
      end
    end
  end
end
