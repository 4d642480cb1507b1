# Apache with Passenger on the loopback interface, with a configuration of its
# own: one code root, a VirtualHost for each tenant, as a hosting provider has it.
# frozen_string_literal: true

require_relative 'lab'

module Lab
  class Apache < Child
    MODULES = %w[mpm_event authn_core authz_core authz_host env mime dir headers proxy proxy_http xsendfile passenger].freeze
    USER = 'www-data'

    attr_reader :port

    # sites: { 'a' => { environment } }; each is served at http://a.localhost:port.
    def initialize(code, sites, kura_url:, sendfile: nil)
      super()
      @sites = sites
      @port = Lab.free_port
      @dir = File.join(Lab.scratch, "apache-#{@port}")
      # Sockets are made in it, whose names may have 107 bytes at most.
      @registry = Dir.mktmpdir('kp-').tap { |dir| at_exit { FileUtils.rm_rf(dir) } }
      FileUtils.mkdir_p(@dir)
      FileUtils.touch("#{@dir}/passenger.log")
      FileUtils.chown_R(USER, USER, [@dir, @registry])
      File.write("#{@dir}/httpd.conf", configuration(code, sites, kura_url, sendfile))
    end

    def start
      spawn({ 'LANG' => 'C.UTF-8' }, '/usr/sbin/apache2', '-d', '/etc/apache2', '-f', "#{@dir}/httpd.conf", '-DFOREGROUND',
            log: "#{@dir}/start.log")
      Lab.wait('Apache') { alive? ? Lab.answering?(@port) : raise(File.read(log)) }
      @sites.each_key { |site| boot(site) }
      self
    end

    # Passenger boots a site when it is first asked for.
    def boot(site)
      request = Net::HTTP::Get.new('/login', { 'Host' => "#{site}.localhost" })
      response = Net::HTTP.start('127.0.0.1', @port, read_timeout: 120) { |http| http.request(request) }
      raise "#{site}: #{response.code} #{File.read("#{@dir}/passenger.log")[-3000..]}" unless response.code == '200'
    end

    def url(site) = "http://#{site}.localhost:#{@port}"
    def error_log = "#{@dir}/error.log"
    def access_log = "#{@dir}/access.log"

    private

    def configuration(code, sites, kura_url, sendfile)
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
        #{sites.map { |name, environment| site(code, name, environment, kura_url, sendfile) }.join}
      CONF
    end

    def site(code, name, environment, kura_url, sendfile)
      settings = { 'REDMINE_INSTANCE' => name, 'BUNDLER_VERSION' => '2.3.15', 'LANG' => 'C.UTF-8' }.merge(environment)
      <<~CONF
        <VirtualHost 127.0.0.1:#{@port}>
          ServerName #{name}.localhost
          DocumentRoot #{code.path}/public
          PassengerAppRoot #{code.path}
          PassengerAppGroupName #{name}
          PassengerAppEnv production
          #{settings.map { |key, value| "SetEnv #{key} #{value}" }.join("\n  ")}
          ProxyPass /kura/t/ #{kura_url}/kura/t/
          #{"XSendFile on\n  XSendFilePath #{sendfile}" if sendfile}
          <Location /kura/t/>
            PassengerEnabled off
          </Location>
          <Directory #{code.path}/public>
            Require all granted
          </Directory>
        </VirtualHost>
      CONF
    end
  end
end
