# frozen_string_literal: true

module RedmineKura
  module Patches
    # Trouble with Kura becomes a readable page, whatever was being done.
    module ApplicationControllerPatch
      extend ActiveSupport::Concern

      included do
        rescue_from RedmineKura::Error, with: :render_kura_error
        prepend_before_action { RequestId.take(request) }
      end

      private

      def render_kura_error(error)
        logger.error("Kura: #{error.message}")
        return render_404 if error.is_a?(Error::NotFound)

        headers['Retry-After'] = error.retry_after.to_s if error.retry_after
        headers['Cache-Control'] = 'no-store'
        status = error.is_a?(Error::Unavailable) ? 503 : 500
        if api_request?
          render_api_errors(error.to_human)
          self.status = status
        else
          # Rails takes the extension of a downloaded file for the format that is wanted.
          request.format = :html unless request.xhr?
          render_error(message: error.to_human, status: status)
        end
      end
    end
  end
end
