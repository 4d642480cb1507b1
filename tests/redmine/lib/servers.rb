# SeaweedFS as the S3 server and nginx as the web server.
# frozen_string_literal: true

require_relative 'lab'

module Lab
  class Seaweed < Child
    KEY = { 'AWS_ACCESS_KEY_ID' => 'kura', 'AWS_SECRET_ACCESS_KEY' => 'kura-secret' }.freeze
    BUCKET = 'files'

    # What is in it outlives its restarts.
    def initialize
      super
      @flags = %w[master.port volume.port filer.port s3.port].flat_map do |flag|
        @port = Lab.free_port
        ["-#{flag}=#{@port}", "-#{flag}.grpc=#{Lab.free_port}"]
      end
    end

    def start
      dir = File.join(Lab.scratch, 'weed').tap { |path| FileUtils.mkdir_p(path) }
      identities = "#{dir}/identities.json"
      File.write(identities, JSON.generate(identities: [{
        name: 'kura', actions: %w[Admin Read Write List],
        credentials: [{ accessKey: KEY['AWS_ACCESS_KEY_ID'], secretKey: KEY['AWS_SECRET_ACCESS_KEY'] }]
      }]))
      spawn({}, "#{REPOSITORY}/.venv/bin/weed", 'server', '-s3', '-ip=127.0.0.1', '-volume.max=50',
            '-master.volumeSizeLimitMB=1024', '-s3.port.iceberg=0', '-s3.port.lance=0', "-dir=#{dir}",
            "-s3.config=#{identities}", *@flags, chdir: dir)
      Lab.wait('SeaweedFS', 60) { make_bucket || bucket? }
      self
    end

    def url = "http://127.0.0.1:#{@port}"

    # For Kura: this server is its store.
    def for_kura
      KEY.merge('KURA_STORE' => 's3', 'S3_BUCKET_NAME' => BUCKET, 'AWS_REGION' => 'us-east-1',
                'AWS_ENDPOINT_URL_S3' => url, 'KURA_SECRET' => 'a secret for measurements on loopback only')
    end

    # It ends slowly; nothing in it is to be kept.
    def stop(*) = kill

    private

    def make_bucket = signed('-X', 'PUT')
    def bucket? = signed('-I')

    # curl signs.
    def signed(*how)
      system('curl', '-fsS', *how, '--aws-sigv4', 'aws:amz:us-east-1:s3', '--user', KEY.values.join(':'),
             "#{url}/#{BUCKET}", out: File::NULL, err: File::NULL)
    end
  end

  class Nginx < Child
    attr_reader :port

    # `internal`: the ticket path is only for X-Accel-Redirect.
    def initialize(redmine_port:, kura_port:, internal:)
      super()
      @port = Lab.free_port
      @dir = File.join(Lab.scratch, "nginx-#{@port}").tap { |dir| FileUtils.mkdir_p(dir) }
      File.write("#{@dir}/nginx.conf", <<~CONF)
        daemon off;
        pid #{@dir}/nginx.pid;
        error_log #{@dir}/error.log;
        worker_processes 1;
        events { worker_connections 256; }
        http {
          access_log off;
          client_body_temp_path #{@dir}/body;
          proxy_temp_path #{@dir}/proxy;
          fastcgi_temp_path #{@dir}/fastcgi;
          uwsgi_temp_path #{@dir}/uwsgi;
          scgi_temp_path #{@dir}/scgi;
          client_max_body_size 0;
          server {
            listen 127.0.0.1:#{@port};
            location / {
              proxy_pass http://127.0.0.1:#{redmine_port};
              proxy_set_header Host $http_host;
              proxy_request_buffering off;
              proxy_http_version 1.1;
            }
            location /kura/t/ {
              #{'internal;' if internal}
              proxy_pass http://127.0.0.1:#{kura_port};
              proxy_http_version 1.1;
              proxy_set_header Connection "";
              proxy_buffering off;
            }
          }
        }
      CONF
    end

    def start
      spawn({}, '/usr/sbin/nginx', '-c', "#{@dir}/nginx.conf", '-e', "#{@dir}/error.log", '-p', @dir)
      Lab.wait('nginx') { alive? ? Lab.answering?(@port) : raise(File.read(log)) }
      self
    end
  end
end
