# frozen_string_literal: true

module RedmineKura
  # How the bytes of a download reach the browser, after Redmine has authorised it: through the
  # web server by a ticket or a file name, or through Ruby in small pieces.
  class Delivery
    CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

    # Of Kura's answer, what the browser is to see. The rest is Redmine's to say.
    PASSED_ON = %w[Content-Length Content-Range].freeze

    class << self
      # If-None-Match is compared weakly (RFC 9110, 13.1.2), but Rails compares letter by letter
      # and makes weak ETags only. Browsers can resume a download only with a strong one.
      def compare_etags_weakly(request)
        tags = request.get_header('HTTP_IF_NONE_MATCH')
        request.set_header('HTTP_IF_NONE_MATCH', tags.gsub(/(?<![\w\/"])"/) {'W/"'}.gsub(/W\/W\//, 'W/')) if tags && tags != '*'
      end

      # Makes a Response the answer of the controller.
      def stream(controller, response, options)
        controller.send(:send_file_headers!, options)
        PASSED_ON.each {|name| controller.headers[name] = response[name] if response[name]}
        # With an ETag no middleware reads the body to compute one.
        unless controller.headers['ETag']
          controller.headers['ETag'] = %("#{SecureRandom.hex(8)}")
          controller.headers['Cache-Control'] = 'max-age=0, private, must-revalidate'
        end
        controller.status = response.status
        controller.response_body = response
      end
    end

    def initialize(controller, attachment)
      @controller = controller
      @attachment = attachment
    end

    # `options` are those of Rails' send_file: filename, type, disposition.
    def deliver(options)
      headers['Content-Security-Policy'] = CONTENT_SECURITY_POLICY
      headers['X-Content-Type-Options'] = 'nosniff'
      public_send(by_path?(options) ? RedmineKura.configuration.delivery : 'stream', options)
    end

    # The browser is sent to a path that the web server proxies to Kura.
    def ticket(options)
      # The answer is good for this moment only, unlike the file.
      headers.delete('ETag')
      headers['Cache-Control'] = 'no-store'
      headers['Location'] = Redmine::Utils.relative_url_root + ticket_path(options)
      empty_body(302)
    end

    # nginx fetches the file from Kura in place of this answer.
    def x_accel(options)
      @controller.send(:send_file_headers!, options)
      # nginx would send this one beside Kura's, and Chrome takes no answer that has two.
      headers.delete('Content-Disposition')
      headers['X-Accel-Redirect'] = ticket_path(options)
      empty_body(200)
    end

    # Apache sends the file from the cache directory that it shares with Kura.
    def x_sendfile(options)
      path = RedmineKura.files.leased(@attachment.kura_key, @attachment.digest)
      return stream(options) if path.nil?

      resumable
      @controller.send(:send_file_headers!, options)
      headers['X-Sendfile'] = path
      empty_body(200)
    end

    # Through Ruby.
    def stream(options)
      resumable
      self.class.stream(@controller, open, options)
    end

    private

    # Browsers take a last segment of dots for a step in the path.
    def by_path?(options)
      !%w[. ..].include?(options[:filename].to_s)
    end

    def headers
      @controller.headers
    end

    # Browsers resume what they know by a strong ETag.
    def resumable
      headers['ETag'] = headers['ETag'].delete_prefix('W/') if headers['ETag']
      headers['Accept-Ranges'] = 'bytes'
    end

    def ticket_path(options)
      Ticket.path(RedmineKura.configuration,
                  key: @attachment.kura_key, filename: options[:filename],
                  disposition: options[:disposition].to_s, content_type: options[:type].to_s.presence)
    end

    def empty_body(status)
      @controller.status = status
      @controller.response_body = ''
    end

    def open
      request = @controller.request
      return described if request.head?

      RedmineKura.client.open_file(@attachment.kura_key, range_headers(request))
    rescue Error::RangeNotSatisfiable => e
      headers['Content-Range'] = e.content_range if e.content_range
      EmptyBody.new(416, 'Content-Length' => '0')
    end

    # If-Range names the ETag that Redmine gave out. Kura's own is another.
    def range_headers(request)
      range = request.get_header('HTTP_RANGE')
      condition = request.get_header('HTTP_IF_RANGE')
      return {} if range.nil? || (condition && condition != headers['ETag'])

      { 'Range' => range }
    end

    # The answer to HEAD.
    def described
      head = RedmineKura.client.head_file(@attachment.kura_key)
      raise Error::NotFound, "#{@attachment.kura_key} is not in Kura" if head.nil?

      EmptyBody.new(200, head)
    end

    # A Response without bytes.
    class EmptyBody
      attr_reader :status

      def initialize(status, head = {})
        @status = status
        @head = head
      end

      def [](name)
        @head[name]
      end

      def each
        enum_for(:each) unless block_given?
      end
    end
  end
end
