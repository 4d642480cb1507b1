# frozen_string_literal: true

module RedmineKura
  # Redmine keeps equal files once. Where both are in Kura, they are equal when Kura's SHA-256 of
  # both are. Kura is asked before the rows are locked, and deletes after.
  class Deduplication
    def initialize(attachment)
      @attachment = attachment
    end

    def run
      other = candidate
      return if other.nil? || !same_bytes?(other)

      key = @attachment.kura_key
      filename = @attachment.disk_filename
      return unless reuse(other)

      RedmineKura.files.forget_file(key, @attachment.digest)
      delete(key) if Attachment.where(disk_filename: filename).none?
    rescue ActiveRecord::StatementInvalid, ActiveRecord::RecordNotFound
      # Not worth waiting for a lock, or a row is gone meanwhile: both files stay.
      nil
    end

    private

    def delete(key)
      RedmineKura.client.delete_file(key)
    rescue Error => e
      RedmineKura.leftovers.note(key, e)
    end

    def candidate
      Attachment.where(digest: @attachment.digest, filesize: @attachment.filesize)
                .where.not(disk_filename: @attachment.disk_filename).order(:id).last
    end

    # The new file's digest is what Kura computed a moment ago. The other's is asked for: the
    # object may have been lost or replaced since.
    def same_bytes?(other)
      return false unless @attachment.digest.to_s.size == 64 && other.kura?

      kept = RedmineKura.client.head_file(other.kura_key)
      return false if kept.nil? || kept['Content-Length'].to_i != @attachment.filesize

      kept['X-Kura-Digest'] == @attachment.digest
    end

    def reuse(other)
      key = other.kura_key
      @attachment.with_lock do
        other.with_lock do
          next false unless other.kura_key == key

          @attachment.update_columns(disk_directory: other.disk_directory, disk_filename: other.disk_filename)
        end
      end
    end
  end
end
