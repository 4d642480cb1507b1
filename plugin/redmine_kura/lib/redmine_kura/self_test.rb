# frozen_string_literal: true

module RedmineKura
  # Writes, reads and deletes one small file, as an upload and a download do, and says how long
  # each step took. Nothing is left behind.
  class SelfTest
    Step = Struct.new(:label, :milliseconds, :problem) do
      def ok?
        problem.nil?
      end
    end

    CONTENT = "Kura's test file. It may be deleted.\n"
    DIRECTORY = 'kura-test'

    # The steps up to the first that fails.
    def run
      [
        [:label_kura_step_ready, :reach], [:label_kura_step_write, :write],
        [:label_kura_step_read, :read], [:label_kura_step_copy, :copy], [:label_kura_step_delete, :delete]
      ].each_with_object([]) do |(label, step), done|
        done << timed(label) { send(step) }
        break done unless done.last.ok?
      end
    ensure
      delete_quietly
    end

    private

    def reach
      RedmineKura.client.ready!(fresh: true)
    end

    def write
      @stored = RedmineKura.client.store(
        Upload.new(CONTENT), directory: DIRECTORY, name: Names.propose('kura-test.txt'),
        filename: 'kura-test.txt', content_type: 'text/plain'
      )
    end

    def read
      content = RedmineKura.client.open_file(@stored['key']).read
      raise Error::Broken, 'The test file was read with other bytes than were written' if content != CONTENT
    end

    def copy
      path = RedmineKura.files.file(@stored['key'], @stored['digest'])
      raise Error::Broken, 'The local copy has other bytes than were written' if path.nil? || File.binread(path) != CONTENT
    end

    def delete
      RedmineKura.files.forget_file(@stored['key'], @stored['digest'])
      RedmineKura.client.delete_file(@stored['key'])
      @stored = nil
    end

    def delete_quietly
      delete if @stored
    rescue Error
      nil
    end

    def timed(label)
      started = RedmineKura.clock
      problem = nil
      begin
        yield
      rescue Error => e
        problem = "#{e.to_human} (#{e.message})"
      end
      Step.new(label, ((RedmineKura.clock - started) * 1000).round(1), problem)
    end
  end
end
