# frozen_string_literal: true

module RedmineKura
  module Patches
    # Administration » Information says whether Kura can be used.
    module AdminControllerPatch
      def info
        super
        @checklist << [:text_kura_ready, Status.new.ok?]
      end
    end
  end
end
