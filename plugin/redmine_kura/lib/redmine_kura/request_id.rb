# frozen_string_literal: true

module RedmineKura
  # The id of the request that Redmine is answering, so that Kura's log lines can be found by it.
  module RequestId
    SLOT = :redmine_kura_request_id

    def self.current
      Thread.current.thread_variable_get(SLOT)
    end

    def self.current=(id)
      Thread.current.thread_variable_set(SLOT, id)
    end
  end
end
