# frozen_string_literal: true

module RedmineKura
  # How things stand, for the plugin's page, Administration » Information and `rake kura:status`.
  class Status
    # What was looked at (a key of the locales), whether it is well, and what is wrong otherwise.
    Check = Struct.new(:label, :ok, :problem)

    def ok?
      checks.all?(&:ok)
    end

    def checks
      @checks ||= [configured, ready, token, local]
    end

    # What is set, and how much of it is used, as [key of the locales, text].
    def facts
      configuration = RedmineKura.configuration
      [
        [:label_kura_url, configuration.socket || configuration.url.to_s],
        [:label_kura_version, version],
        [:label_kura_tenant, configuration.tenant],
        [:label_kura_delivery, configuration.delivery],
        [:label_kura_cache_dir, configuration.cache_dir || '–'],
        [:label_kura_local_dir, configuration.local_dir],
        [:label_kura_local_use, local_use(configuration)]
      ]
    end

    private

    def configured
      errors = RedmineKura.configuration.errors
      Check.new(:label_kura_configuration, errors.empty?, errors.join(' '))
    end

    def ready
      ask(:label_kura_store_ready) { RedmineKura.client.ready! }
    end

    # Who has waited for one time-out need not wait for the next.
    def token
      return Check.new(:label_kura_token, false, '?') if @unreachable

      ask(:label_kura_token) { RedmineKura.client.check_token }
    end

    def local
      ask(:label_kura_local_writable) { RedmineKura.files.check_writable }
    end

    def version
      checks
      @unreachable ? '?' : RedmineKura.client.version
    rescue Error
      '?'
    end

    def local_use(configuration)
      usage = RedmineKura.files.usage
      size = ActiveSupport::NumberHelper.number_to_human_size(usage[:bytes])
      limit = ActiveSupport::NumberHelper.number_to_human_size(configuration.local_bytes)
      "#{usage[:files]} (#{size} ≤ #{limit})"
    end

    def ask(label)
      yield
      Check.new(label, true, nil)
    rescue Error => e
      @unreachable = true if e.is_a?(Error::Unavailable)
      Check.new(label, false, e.message)
    end
  end
end
