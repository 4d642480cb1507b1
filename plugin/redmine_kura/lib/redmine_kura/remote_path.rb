# frozen_string_literal: true

module RedmineKura
  # The path that a file would have if it lay on this disk, while only Kura has it. Redmine's own
  # code passes such a path on to where the plugin takes over.
  class RemotePath < String; end
end
