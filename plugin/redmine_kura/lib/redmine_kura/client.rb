# frozen_string_literal: true

require 'erb'
require 'json'
require 'net/http'
require 'openssl'

module RedmineKura
  # Kura's HTTP API, one method a route. Answers are read into memory only where they are small.
  class Client
    NETWORK_ERRORS = [
      SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError,
      Net::ProtocolError, Net::HTTPBadResponse, Net::HTTPHeaderSyntaxError
    ].freeze

    # What may be sent again when an answer is lost, because twice does the same as once.
    IDEMPOTENT = %w[GET HEAD PUT DELETE].freeze

    # How long an answer to `ready!` is good, and how long it is waited for: it is asked inside
    # transactions.
    READY_SECONDS = 5
    READY_SLOT = :redmine_kura_ready

    def initialize(configuration)
      @configuration = configuration
    end

    # -- files

    # Stores an Upload under the first free name and returns Kura's answer as a Hash.
    def store(upload, directory:, name:, filename:, content_type:)
      query = URI.encode_www_form(directory: directory, name: name)
      request = Net::HTTP::Post.new("/v1/files?#{query}")
      request['Content-Type'] = content_type
      request['X-Kura-Filename'] = escape(filename)
      answer = send_upload(request, upload)
      raise Error::Unavailable, 'What answered at KURA_URL is not Kura' unless answer['disk_filename'].is_a?(String)

      answer
    end

    # A Response, whatever of the successful statuses it has (200, 206, 304).
    def open_file(key, headers = {})
      open(Net::HTTP::Get.new(file_path(key), headers))
    end

    # The headers of a file, or nil when there is none.
    def head_file(key)
      call(Net::HTTP::Head.new(file_path(key)))
    rescue Error::NotFound
      nil
    end

    def delete_file(key)
      call(Net::HTTP::Delete.new(file_path(key)))
    end

    def move(from, to)
      call(json(Net::HTTP::Post.new('/v1/move'), from: from, to: to))
    end

    # -- thumbnails

    def open_thumbnail(name, source)
      open(Net::HTTP::Get.new("/v1/thumbnails/#{escape(name)}?#{URI.encode_www_form(source: source)}"))
    end

    def clear_thumbnails(digest = nil, filesize = nil)
      call(Net::HTTP::Delete.new(digest ? "/v1/thumbnails/#{digest}_#{filesize}" : '/v1/thumbnails'))
    end

    # -- imports

    def store_import(hex, upload)
      request = Net::HTTP::Put.new("/v1/imports/#{hex}")
      request['Content-Type'] = 'text/csv'
      send_upload(request, upload)
    end

    def open_import(hex)
      open(Net::HTTP::Get.new("/v1/imports/#{hex}"))
    end

    def delete_import(hex)
      call(Net::HTTP::Delete.new("/v1/imports/#{hex}"))
    end

    # -- the rest

    # A ZIP of [{key:, name:}, …] as it is made.
    def open_archive(entries)
      open(json(Net::HTTP::Post.new('/v1/archives'), entries: entries))
    end

    # The path of a complete local copy in Kura's own cache directory, and when it may be gone.
    def lease(key, digest)
      parse(call(json(Net::HTTP::Post.new('/v1/leases'), { key: key, digest: digest }.compact)).body)
    end

    # Raises Error::Unavailable unless Kura and its store answer. Within one request of Redmine's an
    # answer is good for some seconds, so that deleting a hundred files asks once.
    def ready!(fresh: false)
      asked = Thread.current.thread_variable_get(READY_SLOT)
      return if !fresh && asked && asked.first(2) == [self, RequestId.current] && RedmineKura.clock < asked.last

      call(Net::HTTP::Get.new('/readyz'), wait: [READY_SECONDS, @configuration.read_timeout.to_f].min)
      Thread.current.thread_variable_set(READY_SLOT, [self, RequestId.current, RedmineKura.clock + READY_SECONDS])
    end

    # The version that a running Kura says it has.
    def version
      parse(call(Net::HTTP::Get.new('/openapi.json')).body).dig('info', 'version')
    end

    # Raises unless the token is a tenant's and the store answers for it.
    def check_token
      call(Net::HTTP::Get.new('/v1/files?limit=1&digests=false'))
    end

    private

    def file_path(key)
      "/v1/files/#{key.split('/').map {|segment| escape(segment)}.join('/')}"
    end

    def escape(text)
      ERB::Util.url_encode(text)
    end

    def json(request, content)
      request['Content-Type'] = 'application/json'
      request.body = JSON.generate(content)
      request
    end

    # The body is sent when Kura asks for it. A Kura that stalls has then nothing that it could
    # store after Redmine has given up and told the user so.
    def send_upload(request, upload)
      request['Expect'] = '100-continue'
      request.body_stream = upload
      upload.wanted_within(@configuration.read_timeout)
      request['X-Kura-Digest'] = upload.digest if upload.digest
      if upload.size
        request.content_length = upload.size
        request['X-Kura-Size'] = upload.size.to_s
      else
        request['Transfer-Encoding'] = 'chunked'
      end
      parse(call(request).body)
    end

    # Sends the request and returns the response with its body read.
    def call(request, wait: @configuration.read_timeout)
      sending(request) do
        connection = Connection.take(@configuration)
        begin
          connection.read_timeout = wait
          connection.start unless connection.started?
          response = connection.request(request)
        rescue StandardError
          Connection.close(connection)
          raise
        end
        connection.read_timeout = @configuration.read_timeout
        Connection.give_back(connection, @configuration)
        check(response.code.to_i, response) { response.body }
        response
      end
    end

    # Sends the request and returns a Response as soon as its head is there.
    def open(request)
      sending(request) do
        response = Response.new(@configuration, request)
        check(response.status, response.head) { response.read }
        response
      end
    end

    def sending(request)
      @configuration.check!
      request['Authorization'] = "Bearer #{@configuration.token}"
      request['Accept-Encoding'] = 'identity'
      request['X-Request-Id'] = RequestId.current if RequestId.current
      request['traceparent'] = RequestId.traceparent if RequestId.traceparent
      attempts = repeatable?(request) ? 2 : 1
      begin
        yield
      rescue *NETWORK_ERRORS => e
        attempts -= 1
        # A time-out is not tried again: whoever waits has waited long enough.
        retry if attempts.positive? && !e.is_a?(Timeout::Error)
        raise Error::Unavailable, "Kura cannot be reached: #{e.class}: #{e.message}"
      end
    end

    def repeatable?(request)
      IDEMPOTENT.include?(request.method) && request.body_stream.nil?
    end

    def check(status, head)
      return if (200..299).cover?(status) || status == 304

      body = yield
      problem = problem_of(body)
      problem['bodyless'] = true if body.nil? && head['Content-Type'] == 'application/problem+json'
      error = Error.of(status, problem, head['Retry-After']&.to_i)
      error.content_range = head['Content-Range'] if error.is_a?(Error::RangeNotSatisfiable)
      raise error
    end

    # What a JSON answer says. One that ended early, or is none, says nothing.
    def parse(body)
      JSON.parse(body.to_s).to_h
    rescue JSON::ParserError, TypeError, NoMethodError => e
      raise Error::Unavailable, "Kura's answer cannot be understood: #{e.message}"
    end

    def problem_of(body)
      parse(body)
    rescue Error
      {}
    end
  end
end
