# frozen_string_literal: true

require 'net/http'

module RedmineKura
  # Connections to Kura: one for each thread, kept alive between requests. A response that is
  # still being read has its connection to itself; another request of the same thread meanwhile
  # opens one of its own.
  module Connection
    # Kura closes a connection that was idle for 30 s. Net::HTTP opens a new one after this time.
    IDLE_SECONDS = 20

    SLOT = :redmine_kura_connection

    # Net::HTTP over a Unix socket.
    class OverSocket < Net::HTTP
      attr_accessor :socket_path

      private

      def connect
        @socket = Net::BufferedIO.new(UNIXSocket.new(socket_path))
        @socket.read_timeout = read_timeout
        @socket.write_timeout = write_timeout if @socket.respond_to?(:write_timeout=)
        on_connect
      end
    end

    class << self
      # The thread's idle connection, or a new one. To be given back or closed.
      def take(configuration)
        kept = Thread.current.thread_variable_get(SLOT)
        Thread.current.thread_variable_set(SLOT, nil)
        # After a fork the connection still belongs to the parent process.
        return kept.last if kept && kept[0] == Process.pid && kept[1].equal?(configuration)

        build(configuration)
      end

      def give_back(connection, configuration)
        if Thread.current.thread_variable_get(SLOT)
          close(connection)
        else
          Thread.current.thread_variable_set(SLOT, [Process.pid, configuration, connection])
        end
      end

      def close(connection)
        connection.finish if connection.started?
      rescue IOError, SystemCallError
        nil
      end

      private

      def build(configuration)
        # The last nil: no proxy, whatever the environment says.
        http = (configuration.socket ? OverSocket : Net::HTTP).new(configuration.url.hostname, configuration.url.port, nil)
        http.socket_path = configuration.socket if configuration.socket
        if configuration.url.scheme == 'https'
          http.use_ssl = true
          http.verify_mode = OpenSSL::SSL::VERIFY_PEER
          http.ca_file = configuration.ca_file if configuration.ca_file
        end
        http.open_timeout = configuration.open_timeout
        http.ssl_timeout = configuration.open_timeout
        http.read_timeout = configuration.read_timeout
        http.write_timeout = configuration.read_timeout if http.respond_to?(:write_timeout=)
        # How long an upload waits for Kura to say that it wants the body.
        http.continue_timeout = configuration.read_timeout
        http.keep_alive_timeout = IDLE_SECONDS
        # Net::HTTP itself would repeat what may have happened already. Client decides.
        http.max_retries = 0
        http
      end
    end
  end
end
