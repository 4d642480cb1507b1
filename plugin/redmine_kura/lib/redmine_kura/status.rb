# frozen_string_literal: true

module RedmineKura
  # How things stand, for the plugin's page, Administration » Information and `rake kura:status`.
  class Status
    # A line: what it is about (a key of the locales), whether it is well (nil: nothing to judge),
    # and a text that needs no translation.
    Line = Struct.new(:label, :ok, :text)

    def ok?
      lines.all? {|line| line.ok != false}
    end

    def lines
      @lines ||= [configured, ready, token, local]
    end

    # What was configured or can be counted, as [label, text].
    def facts
      configuration = RedmineKura.configuration
      usage = RedmineKura.files.usage
      [
        [:label_kura_url, configuration.socket || configuration.url.to_s],
        [:label_kura_version, version],
        [:label_kura_tenant, configuration.tenant],
        [:label_kura_delivery, configuration.delivery],
        [:label_kura_leases, configuration.cache_dir || '–'],
        [:label_kura_local_dir, configuration.local_dir],
        [:label_kura_local_use, "#{usage[:files]} / #{usage[:bytes] / 1024} KiB (≤ #{configuration.local_bytes / 1024 / 1024} MiB)"]
      ]
    end

    private

    def configured
      errors = RedmineKura.configuration.errors
      Line.new(:label_kura_configuration, errors.empty?, errors.join(' '))
    end

    def ready
      asked(:label_kura_reachable) { RedmineKura.client.ready! }
    end

    def token
      asked(:label_kura_token) { RedmineKura.client.check_token }
    end

    def local
      Line.new(:label_kura_local_writable, File.writable?(RedmineKura.files.names_directory), RedmineKura.configuration.local_dir)
    rescue SystemCallError => e
      Line.new(:label_kura_local_writable, false, e.message)
    end

    def version
      RedmineKura.client.version
    rescue Error
      '?'
    end

    def asked(label)
      yield
      Line.new(label, true, '')
    rescue Error => e
      Line.new(label, false, e.message)
    end
  end
end
