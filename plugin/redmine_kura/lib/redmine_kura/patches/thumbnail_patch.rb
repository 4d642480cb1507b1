# frozen_string_literal: true

module RedmineKura
  module Patches
    # A thumbnail of a file that only Kura has is not made here: whoever needs its bytes fills
    # the path from Kura.
    module ThumbnailPatch
      def generate(source, target, *arguments)
        source.is_a?(RemotePath) ? RemotePath.new(target) : super
      end
    end
  end
end
