# frozen_string_literal: true

module RedmineKura
  # A list of attachments, all of them in Kura, whose archive is to be streamed by Kura.
  class StreamedArchive < Array
    # The Response, or nil when there is nothing to archive.
    def open
      return nil if empty?

      RedmineKura.client.open_archive(map {|file| { key: file.kura_key, name: file.filename }})
    rescue Error::NotFound
      # One is missing. Redmine leaves such files out.
      there = select(&:kura_exists?)
      there.size == size ? raise : self.class.new(there).open
    end
  end
end
