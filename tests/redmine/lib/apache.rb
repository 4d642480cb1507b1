# Apache with Passenger on the loopback interface, with a main configuration of
# its own. The VirtualHosts are those that `kura vhosts` writes.
# frozen_string_literal: true

require_relative 'lab'

module Lab
  class Apache < Child
    MODULES = %w[mpm_event authn_core authz_core authz_host alias env mime dir headers proxy proxy_http xsendfile passenger].freeze
    USER = 'www-data'

    attr_reader :port

    # vhosts: the directories that `kura vhosts` writes to.
    def initialize(vhosts)
      super()
      @port = Lab.free_port
      @vhosts = vhosts
      @dir = File.join(Lab.scratch, "apache-#{@port}")
      # Sockets are made in it, whose names may have 107 bytes at most.
      @registry = Dir.mktmpdir('kp-').tap { |dir| at_exit { FileUtils.rm_rf(dir) } }
      FileUtils.mkdir_p(@dir)
      FileUtils.touch("#{@dir}/passenger.log")
      FileUtils.chown_R(USER, USER, [@dir, @registry])
      File.write("#{@dir}/httpd.conf", configuration)
    end

    def start
      spawn({ 'LANG' => 'C.UTF-8' }, *command, '-DFOREGROUND', log: "#{@dir}/start.log")
      Lab.wait('Apache') { alive? ? Lab.answering?(@port) : raise(File.read(log)) }
      self
    end

    # What Apache itself says of its configuration.
    def check
      Open3.capture2e(*command, '-t')
    end

    # Passenger boots a site when it is first asked for.
    def get(site, path)
      request = Net::HTTP::Get.new(path, { 'Host' => "#{site}.localhost" })
      response = Net::HTTP.start('127.0.0.1', @port, read_timeout: 120) { |http| http.request(request) }
      puts File.read("#{@dir}/passenger.log")[-3000..] if response.code == '500'
      response
    end

    def url(site) = "http://#{site}.localhost:#{@port}"
    def error_log = "#{@dir}/error.log"
    def access_log = "#{@dir}/access.log"

    private

    def command = ['/usr/sbin/apache2', '-d', '/etc/apache2', '-f', "#{@dir}/httpd.conf"]

    def configuration
      <<~CONF
        #{MODULES.map { |m| "LoadModule #{m}_module /usr/lib/apache2/modules/mod_#{m}.so" }.join("\n")}
        PidFile #{@dir}/apache.pid
        ErrorLog #{error_log}
        CustomLog #{access_log} "%v %>s %B %r"
        Listen 127.0.0.1:#{@port}
        ServerName localhost
        User #{USER}
        Group #{USER}
        TypesConfig /etc/mime.types
        PassengerRoot /usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini
        PassengerRuby /usr/bin/ruby
        PassengerInstanceRegistryDir #{@registry}
        PassengerUserSwitching off
        PassengerDefaultUser #{USER}
        PassengerLogFile #{@dir}/passenger.log
        PassengerMaxPoolSize 4
        PassengerDisableSecurityUpdateCheck on
        PassengerDisableAnonymousTelemetry on
        #{@vhosts.map { |dir| "Include #{dir}/*.conf" }.join("\n")}
      CONF
    end
  end
end
