# frozen_string_literal: true

require 'erb'
require 'json'
require 'openssl'

module RedmineKura
  # A path under which the browser may have one file for a while, signed with the tenant's token.
  # Kura verifies it; making it needs no question to Kura. See docs/API.md, "Tickets".
  module Ticket
    PREFIX = '/kura/t/'

    # The end is rounded up, so that the path stays the same for a while and the browser's cache
    # is of use.
    def self.path(configuration, key:, filename:, disposition:, content_type: nil, now: Time.now.to_i)
      seconds = configuration.ticket_seconds
      payload = { t: configuration.tenant, k: key, d: disposition, c: content_type, e: (now / seconds + 2) * seconds }.compact
      encoded = encode(JSON.generate(payload))
      mac = OpenSSL::HMAC.digest('SHA256', configuration.token, "kura ticket v1\0#{encoded}\0#{filename}")
      "#{PREFIX}#{encoded}.#{encode(mac)}/#{ERB::Util.url_encode(filename)}"
    end

    def self.encode(bytes)
      [bytes].pack('m0').tr('+/', '-_').delete('=')
    end
  end
end
