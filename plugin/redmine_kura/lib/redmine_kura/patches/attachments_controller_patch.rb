# frozen_string_literal: true

module RedmineKura
  module Patches
    # Downloads: Redmine decides who may have what under which name and type, and Delivery moves
    # the bytes.
    module AttachmentsControllerPatch
      def download
        Delivery.compare_etags_weakly(request)
        @attachment.kura_unfilled { super }
      end

      def thumbnail
        @attachment.kura_unfilled { super }
      end

      def download_all
        if @attachments.all?(&:kura?)
          @attachments = StreamedArchive.new(@attachments)
        else
          @attachments.each {|attachment| attachment.kura_expected = false}
        end
        super
      end

      private

      # A missing file shows when it is opened: it is not looked for beforehand.
      def file_readable
        %w[download thumbnail].include?(action_name) ? @attachment.kura_unfilled { super } : super
      end

      def find_downloadable_attachments
        @container.attachments.each {|attachment| attachment.kura_expected = true} if @container.respond_to?(:attachments)
        super
      end

      def send_file(path, options = {})
        return super unless path.is_a?(RemotePath)

        if action_name == 'thumbnail'
          local = @attachment.kura_fill_thumbnail(path)
          local ? super(local, options) : head(:not_found)
        else
          Delivery.new(self, @attachment).deliver(options)
        end
      end

      def send_data(data, options = {})
        return super unless data.is_a?(Response)

        Delivery.stream(self, data, options)
      end
    end
  end
end
