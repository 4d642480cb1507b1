# An extension of Minitest, for test helpers to require. Writes each test's result
# to the file that KURA_RECORD names, a line for each: name, pass|skip|fail|error,
# seconds, beginning of the message.
# frozen_string_literal: true

module Minitest
  class RecordReporter < AbstractReporter
    def initialize(path)
      super()
      @file = File.open(path, 'a')
      @file.sync = true
    end

    def record(result)
      name = "#{result.klass}##{result.name}"
      message = result.failure ? result.failure.message.to_s.lines.first(3).join(' ').tr("\t\n", '  ').scrub : ''
      @file.puts [name, outcome(result), format('%.3f', result.time), message[0, 300]].join("\t")
    end

    private

    def outcome(result)
      if result.passed? then 'pass'
      elsif result.skipped? then 'skip'
      elsif result.error? then 'error'
      else 'fail'
      end
    end
  end

  def self.plugin_record_init(_options)
    reporter << RecordReporter.new(ENV['KURA_RECORD']) if ENV['KURA_RECORD']
  end

  extensions << 'record'
end
