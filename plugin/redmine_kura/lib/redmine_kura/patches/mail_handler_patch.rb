# frozen_string_literal: true

module RedmineKura
  module Patches
    # No mail is taken while its files could not be kept: whoever delivers it tries again later.
    # Redmine would take the text and drop the files. Its `safe_receive` answers to every exception
    # that the mail is no good, and the mail is lost or sent back; so it is not asked at all.
    module MailHandlerPatch
      def safe_receive(*)
        RedmineKura.client.check_token
        super
      end
    end
  end
end
