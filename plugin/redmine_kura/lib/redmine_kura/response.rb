# frozen_string_literal: true

require 'fiber'

module RedmineKura
  # A response of which the head has arrived and the body is still to be read, piece by piece.
  # It is a Rack body: `each` gives pieces of some 64 KiB, and `close`, which the web server
  # calls also when the browser has gone away, lets go of the connection.
  class Response
    PIECE_BYTES = 64 * 1024

    # Ruby would let some 60 MB of pieces pile up before it collects them. Doing it after as many
    # bytes costs less CPU than the fresh memory would, and some 3 ms each time.
    COLLECT_BYTES = 8 * 1024 * 1024

    attr_reader :head

    # Yields a connection and must return what `Net::HTTP#request` does. Raises as that does.
    def initialize(configuration, request)
      @configuration = configuration
      @connection = Connection.take(configuration)
      @fiber = Fiber.new do
        @connection.start unless @connection.started?
        @connection.request(request) do |head|
          Fiber.yield head
          head.read_body {|chunk| Fiber.yield chunk}
        end
        nil
      end
      @head = @fiber.resume
    rescue StandardError
      close
      raise
    end

    def status
      head.code.to_i
    end

    def [](name)
      head[name]
    end

    def each
      # Rails 7 asks for the pieces without saying what to do with them.
      return enum_for(:each) unless block_given?

      left = head.content_length
      given = 0
      piece = String.new
      while (chunk = advance)
        left -= chunk.bytesize if left
        piece << chunk
        chunk.clear
        next if piece.bytesize < PIECE_BYTES

        yield piece
        given = collect(given + piece.bytesize)
        piece = String.new
      end
      # Net::HTTP takes a body that ends early for a whole one.
      raise Error::Unavailable, "Kura's answer ended #{left} bytes early" if left&.positive?

      yield piece unless piece.empty?
    ensure
      close
    end

    def read
      whole = String.new
      each {|piece| whole << piece}
      whole
    end

    def close
      connection = @connection
      @connection = nil
      Connection.close(connection) if connection
    end

    private

    def collect(given)
      return given if given < COLLECT_BYTES

      GC.start(full_mark: false)
      0
    end

    # The next chunk, or nil at the end, when the connection is free for the next request.
    def advance
      return nil if @connection.nil?

      chunk = @fiber.resume
      return chunk if chunk

      connection = @connection
      @connection = nil
      Connection.give_back(connection, @configuration)
      nil
    rescue *Client::NETWORK_ERRORS => e
      raise Error::Unavailable, "Kura's answer broke off: #{e.class}: #{e.message}"
    end
  end
end
