# Every flow of attachments that needs Kura, and what must be true when it
# fails. To be included where the constants KURA, REDMINE, CODE and TIMEOUT are.
# frozen_string_literal: true

require_relative 'lab'
require_relative 'samples'

module Flows
  # A flow is a request that needs Kura; it has failed readably, or done its work.
  FLOWS = {
    'upload' => ->(t) { t.upload("#{SecureRandom.hex(4)}.bin", SecureRandom.bytes(100_000)) },
    'large upload' => ->(t) { t.upload("#{SecureRandom.hex(4)}.bin", SecureRandom.bytes(20_000_000)) },
    'form' => ->(t) { t.attach_by_form("#{SecureRandom.hex(4)}.txt", SecureRandom.hex(1000)) },
    'same bytes again' => ->(t) { t.upload("#{SecureRandom.hex(4)}.bin", t.known) },
    'download' => ->(t) { t.get("/attachments/download/#{t.id}/known.bin") },
    'show' => ->(t) { t.browse("/attachments/#{t.text_id}") },
    'thumbnail' => ->(t) { t.get("/attachments/thumbnail/#{t.picture_id}/#{[100, 150, 200, 250, 300, 350, 400].sample}") },
    'download all' => ->(t) { t.browse('/attachments/issues/1/download') },
    'pdf' => ->(t) { t.browse('/issues/1.pdf') },
    'import' => ->(t) { t.import }
  }.freeze
  # These may go on without Kura: they leave a picture out rather than fail.
  TOLERANT = ['pdf'].freeze

  attr_reader :known, :id, :text_id, :picture_id

  # Files for the flows, in a Redmine that has no others.
  def known_files
    clear
    @known = SecureRandom.bytes(200_000)
    @id = REDMINE.attach('known.bin', @known)
    @text_id = REDMINE.attach('known.txt', "some text\n" * 50)
    @picture_id = REDMINE.attach('known.png', Samples.png)
  end

  def upload(name, bytes) = timely { REDMINE.upload(name, bytes) }

  def get(path) = timely { REDMINE.request('get', path) }

  def browse(path) = timely { session.get(path) }

  # As the form does without JavaScript: the file is in the same request as the
  # note. Redmine then keeps the note and warns that the file could not be saved.
  def attach_by_form(name, bytes)
    timely do
      form = form_data('_method' => 'patch', 'issue[notes]' => 'with a file', 'attachments[1][file]' => [name, bytes])
      answer = session.post('/issues/1', form)
      next answer unless answer.code == '302'

      page = session.get(URI(answer['Location']).path)
      page.body.include?('could not be saved') ? Refused.new('422', 'could not be saved', {}) : page
    end
  end
  Refused = Struct.new(:code, :body, :headers) { def [](name) = headers[name] }

  def import
    form = form_data('type' => 'IssueImport', 'project_id' => 'kura', 'file' => ['issues.csv', "subject\none\ntwo\n"])
    timely { session.post('/imports', form) }
  end

  private

  def form_data(fields)
    parts = fields.map do |name, value|
      file, bytes = value
      head = "--kura\r\nContent-Disposition: form-data; name=\"#{name}\""
      next "#{head}\r\n\r\n#{value}\r\n" unless value.is_a?(Array)

      "#{head}; filename=\"#{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n#{bytes}\r\n"
    end
    "#{parts.join}--kura--\r\n".b
  end

  def session = @session ||= Lab::Session.new(REDMINE, 'admin')

  # Nothing of Redmine's may wait longer than the plugin's timeouts.
  def timely
    started = Lab.now
    response = yield
    @seconds = Lab.now - started
    response
  end

  def fails_readably(flow)
    response = yield
    return assert_match(/\A2|\A503|\A422/, response.code) if TOLERANT.include?(flow)

    limit = (TIMEOUT * 2) + 3
    assert_operator @seconds, :<, limit, "#{flow}: #{@seconds.round(1)} s"
    readable(response)
  end

  # A sentence for people, not Redmine's page for what nobody foresaw.
  def readable(response)
    refute_match(/\A2/, response.code, response.body.to_s[0, 200])
    refute_equal '500', response.code, "#{response.code}: #{response.body.to_s[0, 300]}"
    refute_equal '404', response.code, 'a storage that does not answer is not a missing file'
    assert_match(/storage|could not be saved/i, response.body.to_s, response.code) unless response['Content-Type'].to_s.start_with?('image/')
  end

  def works(flow)
    response = yield
    assert_match(/\A(2|302)/, response.code, "#{flow} afterwards: #{response.code} #{response.body.to_s[0, 300]}")
  end

  # Every row has its object and every object its row, when what was under way has ended.
  def nothing_half_done
    rows = objects = nil
    Lab.wait('rows and objects to agree', 10) do
      rows = CODE.sql("select coalesce(disk_directory || '/', '') || disk_filename from attachments").split("\n").uniq.sort
      objects = KURA.keys.sort
      rows == objects
    end
  rescue RuntimeError
    flunk "rows without object: #{rows - objects}, objects without row: #{objects - rows}"
  end

  # What a test that failed has left must not fail the next one.
  def clear
    CODE.sql('select id from attachments').split.each { |id| REDMINE.request('delete', "/attachments/#{id}.json") }
    KURA.keys.each { |key| KURA.delete(key) }
    nothing_half_done
  end
end
