# frozen_string_literal: true

require 'openssl'
require 'tmpdir'
require 'uri'

module RedmineKura
  # What the operator has set in the environment. Nothing else in the plugin reads ENV.
  # A wrong value does not stop Redmine from starting: it is logged once and shown on the
  # plugin's page, and each use of Kura fails with the same sentence.
  class Configuration
    DELIVERIES = %w[stream ticket x_accel x_sendfile].freeze

    attr_reader :url, :socket, :token, :delivery, :ca_file, :open_timeout, :read_timeout,
                :local_dir, :local_bytes, :local_seconds, :ticket_seconds, :cache_dir, :errors

    def initialize(env)
      @env = env
      @errors = []
      @active = env['KURA_URL'].to_s.strip != ''
      read if @active
    end

    def active?
      @active
    end

    # Raises what is wrong, if anything is.
    def check!
      raise Error::Misconfigured, 'KURA_URL is not set' unless active?
      raise Error::Misconfigured, errors.join(' ') if errors.any?
    end

    # The tenant's id, as its token says.
    def tenant
      token.to_s.rpartition('.').first
    end

    # A directory name that other tenants, who may share the disk, cannot guess.
    def tenant_directory
      OpenSSL::HMAC.hexdigest('SHA256', token.to_s, 'redmine_kura local files')[0, 32]
    end

    # Whether files may be read from Kura's own cache directory instead of being copied.
    def leases?
      !cache_dir.nil?
    end

    private

    def read
      read_url
      @token = secret('KURA_TOKEN')
      errors << 'KURA_TOKEN is not set: it is what `kura token TENANT` prints.' if token.nil?
      errors << 'KURA_TOKEN has spaces or other characters that no token has: it is what `kura token TENANT` prints.' if token&.match?(/[^\x21-\x7e]/)
      @delivery = choice('KURA_DELIVERY', DELIVERIES)
      @ca_file = text('KURA_CA_FILE')
      @open_timeout = number('KURA_OPEN_TIMEOUT', 3)
      @read_timeout = number('KURA_READ_TIMEOUT', 30)
      @local_dir = File.expand_path(text('KURA_LOCAL_DIR') || default_local_dir, Rails.root.to_s)
      @local_bytes = number('KURA_LOCAL_BYTES', 1024**3).ceil
      @local_seconds = number('KURA_LOCAL_SECONDS', 86_400)
      @ticket_seconds = number('KURA_TICKET_SECONDS', 300).ceil
      @cache_dir = text('KURA_CACHE_DIR')
      errors << 'KURA_DELIVERY=x_sendfile needs KURA_CACHE_DIR.' if delivery == 'x_sendfile' && !leases?
      errors.each {|error| RedmineKura.logger&.error("Kura: #{error}")}
    end

    def read_url
      value = text('KURA_URL')
      if value.start_with?('unix:')
        @socket = value.delete_prefix('unix:').sub(%r{\A//(?=/)}, '')
        @url = URI('http://kura')
      else
        @url = URI(value)
        raise URI::InvalidURIError unless url.is_a?(URI::HTTP) && url.host && ['', '/'].include?(url.path)
      end
    rescue URI::InvalidURIError
      @url = nil
      errors << "KURA_URL is not http://HOST:PORT, https://HOST or unix:PATH: #{value}"
    end

    def text(name)
      value = @env[name].to_s.scrub.strip
      value unless value.empty?
    end

    # The value itself, or the content of the file that NAME_FILE names.
    def secret(name)
      file = text("#{name}_FILE")
      return text(name) if file.nil?

      content = File.read(file).scrub.strip
      content unless content.empty?
    rescue SystemCallError => e
      errors << "#{name}_FILE cannot be read: #{e.message}"
      nil
    end

    def choice(name, allowed)
      value = text(name)
      return allowed.first if value.nil?
      return value if allowed.include?(value)

      errors << "#{name} is none of #{allowed.join(', ')}: #{value}"
      allowed.first
    end

    def number(name, default)
      value = text(name)
      return default if value.nil?

      number = Float(value)
      raise ArgumentError unless number.positive? && number.finite?

      number
    rescue ArgumentError
      errors << "#{name} is not a number above 0: #{value}"
      default
    end

    # Beside Redmine's other temporary files; elsewhere when that directory is read-only.
    def default_local_dir
      own = Rails.root.join('tmp')
      File.join(own.writable? ? own.to_s : Dir.tmpdir, "redmine_kura-#{Process.uid}")
    end
  end
end
