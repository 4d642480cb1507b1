# frozen_string_literal: true

module RedmineKura
  module Patches
    # The CSV file of an import is kept in Kura, so that each step may run in another container.
    # Each has a copy of its own, fetched once.
    module ImportPatch
      def file=(arg)
        kura_unfilled { super }
        return if filename.blank?

        path = kura_unfilled { filepath }
        File.open(path, 'rb') {|file| RedmineKura.client.store_import(filename, Upload.new(file))} if path && File.exist?(path)
      rescue Error, SystemCallError => e
        FileUtils.rm_f(path) if path
        self.filename = nil
        e.is_a?(Error) ? raise : RedmineKura.files.raise_readably(e)
      end

      def filepath
        path = super
        return path if path.nil? || File.exist?(path)

        @kura_unfilled ? RedmineKura.files.import_path(filename) : RedmineKura.files.import(filename)
      end

      private

      def remove_file
        kura_unfilled { super }
        RedmineKura.client.delete_import(filename) if filepath_valid?
      rescue Error => e
        # It expires.
        logger&.error("Import #{filename} could not be deleted: #{e.message}")
      end

      def filepath_valid?
        kura_unfilled { !filepath.nil? }
      end

      # Inside the block the file's path is given without asking Kura.
      def kura_unfilled
        before = @kura_unfilled
        @kura_unfilled = true
        yield
      ensure
        @kura_unfilled = before
      end
    end
  end
end
