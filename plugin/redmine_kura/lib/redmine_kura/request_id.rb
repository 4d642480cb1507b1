# frozen_string_literal: true

module RedmineKura
  # The id of the request that Redmine is answering, and its W3C trace where the web server has begun one, so that Kura's log
  # lines can be found by them.
  module RequestId
    SLOT = :redmine_kura_request_id
    TRACE_SLOT = :redmine_kura_traceparent

    def self.current
      Thread.current.thread_variable_get(SLOT)
    end

    def self.traceparent
      Thread.current.thread_variable_get(TRACE_SLOT)
    end

    def self.take(request)
      Thread.current.thread_variable_set(SLOT, request.request_id)
      Thread.current.thread_variable_set(TRACE_SLOT, request.get_header('HTTP_TRACEPARENT'))
    end
  end
end
