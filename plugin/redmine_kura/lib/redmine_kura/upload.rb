# frozen_string_literal: true

require 'openssl'
require 'stringio'

module RedmineKura
  # The bytes of an upload, whatever Redmine was given: an uploaded file, a request's body, a
  # String from a mail, or any object with `read`. It is read piece by piece and never held whole.
  class Upload
    PIECE_BYTES = 256 * 1024

    # A larger body is read twice: Kura can keep the digest of one that takes several parts only
    # when it is told beforehand.
    DIGEST_FROM_BYTES = 5 * 1024 * 1024

    # The size in bytes, or nil when it is not known for sure. The digest, where it is worth it.
    attr_reader :size, :digest

    def initialize(source)
      @io = source.respond_to?(:read) ? source : StringIO.new(source.to_s)
      @io = @io.tempfile if @io.respond_to?(:tempfile)
      rewind
      @size = trusted_size
      measure if rewindable? && (size.nil? || size > DIGEST_FROM_BYTES)
      @left = size
    end

    # Net::HTTP sends the body also when nobody has asked for it in time. Then reading it fails.
    def wanted_within(seconds)
      @wanted_until = RedmineKura.clock + seconds
    end

    # For Net::HTTP. A body that turns out shorter than announced must not look complete.
    def read(length = PIECE_BYTES, buffer = nil)
      check_wanted
      # Some of the objects that Redmine is given do not fill a buffer, and end with false.
      piece = (buffer && size ? @io.read(length, buffer) : @io.read(length)) || nil
      buffer.replace(piece.to_s) if buffer && !buffer.equal?(piece)
      @left -= piece.bytesize if @left && piece
      raise Error::Broken, 'The file to be stored became shorter while it was read' if piece.nil? && @left.to_i.positive?

      piece
    end

    def rewind
      @io.rewind if rewindable?
      @left = size
    end

    private

    def check_wanted
      raise Error::Unavailable, 'Kura did not ask for the body of an upload' if @wanted_until && RedmineKura.clock >= @wanted_until

      @wanted_until = nil
    end

    def rewindable?
      @io.respond_to?(:rewind)
    end

    # Other objects may say what they like: Redmine's own tests have one that says 32 always.
    def trusted_size
      case @io
      when StringIO then @io.string.bytesize
      when File then @io.size
      else @io.size if defined?(Tempfile) && @io.instance_of?(Tempfile)
      end
    end

    def measure
      sha = OpenSSL::Digest.new('SHA256')
      bytes = 0
      buffer = +''
      while @io.read(PIECE_BYTES, buffer)
        sha << buffer
        bytes += buffer.bytesize
      end
      buffer.clear
      @size = bytes
      @digest = sha.hexdigest
      @io.rewind
    end
  end
end
