# frozen_string_literal: true

module RedmineKura
  module Patches
    # A mail whose attachments cannot be kept is not taken at all: whoever delivers it tries again
    # later. Redmine would take the text and drop the files.
    module MailHandlerPatch
      def receive(email, options = {})
        RedmineKura.client.ready! if email.attachments.any?
        super
      end
    end
  end
end
