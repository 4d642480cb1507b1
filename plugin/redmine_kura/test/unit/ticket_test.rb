# frozen_string_literal: true

require File.expand_path('../test_helper', __dir__)

class KuraTicketTest < ActiveSupport::TestCase
  include KuraTestHelper

  def path(filename: 'レポート.pdf', now: Time.now.to_i, **options)
    RedmineKura::Ticket.path(RedmineKura.configuration, key: '2026/11/1_a.pdf', filename: filename, disposition: 'inline', now: now, **options)
  end

  def test_a_ticket_names_one_file_and_its_end
    with_kura(KURA_TOKEN: 'acme.0123') do
      ticket, name = path(now: 1_000, content_type: 'application/pdf').delete_prefix('/kura/t/').split('/')
      payload, mac = ticket.split('.')
      assert_equal({ 't' => 'acme', 'k' => '2026/11/1_a.pdf', 'd' => 'inline', 'c' => 'application/pdf', 'e' => 1500 },
                   JSON.parse(Base64.urlsafe_decode64(payload)))
      expected = OpenSSL::HMAC.digest('SHA256', 'acme.0123', "kura ticket v1\0#{payload}\0レポート.pdf")
      assert_equal Base64.urlsafe_encode64(expected, padding: false), mac
      assert_equal '%E3%83%AC%E3%83%9D%E3%83%BC%E3%83%88.pdf', name
    end
  end

  def test_the_path_stays_the_same_for_a_while
    assert_equal path(now: 600), path(now: 899)
    assert_not_equal path(now: 600), path(now: 900)
  end
end
