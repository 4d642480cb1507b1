# frozen_string_literal: true

# What the parts of the plugin share: one configuration, one client, one place for local files.
module RedmineKura
  class << self
    # False where KURA_URL is not set: the plugin then changes nothing.
    def active?
      configuration.active?
    end

    def configuration
      @configuration ||= Configuration.new(ENV)
    end

    def client
      @client ||= Client.new(configuration)
    end

    def files
      @files ||= LocalFiles.new(configuration, client)
    end

    def leftovers
      @leftovers ||= Leftovers.new(files, client)
    end

    # For tests: as if Redmine had been started with this environment.
    def configure(env)
      @configuration = Configuration.new(env)
      @client = @files = @leftovers = nil
    end

    def logger
      Rails.logger
    end

    # Seconds that only pass, whatever is done to the machine's time.
    def clock
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
