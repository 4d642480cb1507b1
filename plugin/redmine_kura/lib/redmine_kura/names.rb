# frozen_string_literal: true

module RedmineKura
  # Proposes names for files by Redmine's own rule, which differs between its versions and stands
  # nowhere but in `Attachment.create_diskfile`: so that method is run, in a directory of the
  # plugin's own, and its empty file removed. Whether the name is free is for Kura to say.
  class Names < Attachment
    self.abstract_class = true

    # What Kura takes: a name that is taken may have to grow. Only an extension can be as long.
    MAX_BYTES = 230

    def self.propose(filename)
      path = nil
      create_diskfile(filename) {|file| path = file.path}
      File.basename(path)[0, MAX_BYTES]
    rescue SystemCallError => e
      RedmineKura.files.raise_readably(e)
    ensure
      File.delete(path) if path
    end

    def self.storage_path
      RedmineKura.files.names_directory
    end
  end
end
