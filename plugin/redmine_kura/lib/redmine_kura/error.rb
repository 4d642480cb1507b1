# frozen_string_literal: true

module RedmineKura
  # What can go wrong, by meaning. `message` is for the log; `to_human` is for the reader of
  # the page, in his language.
  class Error < StandardError
    attr_reader :code, :retry_after

    def initialize(message = nil, code: nil, retry_after: nil)
      super(message)
      @code = code
      @retry_after = retry_after
    end

    def label
      :error_kura_failed
    end

    def to_human
      ::I18n.t(label)
    end

    # Kura or its store does not answer, or asks to be asked later.
    class Unavailable < Error
      def label
        :error_kura_unavailable
      end

      def retry_after
        super || 10
      end
    end

    # There is no such file. Never used for trouble.
    class NotFound < Error; end

    # No thumbnail can be made of this file.
    class NotAnImage < Error; end

    # The file has no byte in the range that was asked for.
    class RangeNotSatisfiable < Error
      attr_accessor :content_range
    end

    # A name is taken, or a condition does not hold.
    class Conflict < Error; end

    # The file is larger than Kura takes.
    class TooLarge < Error
      def label
        :error_kura_too_large
      end
    end

    # The store or this machine's disk has no room.
    class Full < Error
      def label
        :error_kura_full
      end
    end

    # The body did not arrive as it was sent, or ended early.
    class Broken < Error
      def label
        :error_kura_broken
      end
    end

    # A setting is wrong: the token, the bucket's permissions, an address, a directory.
    class Misconfigured < Error
      def label
        :error_kura_misconfigured
      end
    end

    BY_CODE = {
      'not_found' => NotFound, 'source_needed' => NotFound,
      'not_an_image' => NotAnImage, 'broken_image' => NotAnImage,
      'image_too_large' => NotAnImage, 'image_too_costly' => NotAnImage,
      'range_not_satisfiable' => RangeNotSatisfiable,
      'source_mismatch' => Conflict, 'thumbnails_shared' => Conflict, 'leases_off' => Conflict,
      'body_too_large' => TooLarge, 'too_large' => TooLarge, 'storage_full' => Full,
      'quota_exceeded' => Full,
      'body_incomplete' => Broken, 'body_too_slow' => Broken, 'size_mismatch' => Broken,
      'digest_mismatch' => Broken, 'storage_corrupt' => Broken,
      'storage_forbidden' => Misconfigured
    }.freeze

    BY_STATUS = {
      401 => Misconfigured, 403 => Misconfigured, 404 => Misconfigured, 409 => Conflict,
      412 => Conflict, 413 => TooLarge, 429 => Unavailable, 502 => Unavailable,
      503 => Unavailable, 504 => Unavailable, 507 => Full
    }.freeze

    # The error that a response other than 2xx stands for. A 404 without Kura's own code comes
    # from something else that listens at KURA_URL, and does not say that a file is missing.
    def self.of(status, problem, retry_after)
      code = problem['code']
      kind = BY_CODE[code] || BY_STATUS.fetch(status, self)
      kind = NotFound if status == 404 && code.nil? && problem['bodyless']
      kind.new("Kura answered #{status} #{code} #{problem['detail']}".strip, code: code, retry_after: retry_after)
    end
  end
end
