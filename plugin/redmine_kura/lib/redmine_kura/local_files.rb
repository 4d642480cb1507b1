# frozen_string_literal: true

require 'fileutils'
require 'openssl'
require 'securerandom'
require 'time'

module RedmineKura
  # Real files on this disk, with the bytes that Kura has: for code that wants a path. They are
  # copies, made when they are asked for and removed by size and age. Any number of processes may
  # use the directory: a file appears whole, by one rename, or not at all.
  #
  #   {KURA_LOCAL_DIR}/{tenant}/files/{what}/{disk_filename}
  #                            /imports/{hex}
  #                            /thumbnails/{digest}_{filesize}_{size}.thumb
  #                            /names/       (see Names)
  #                            /leftovers/   (see Leftovers)
  class LocalFiles
    # Who has been given a path is about to open it.
    KEEP_SECONDS = 300

    # How often a process looks whether there is something to remove.
    SWEEP_SECONDS = 60

    # How long before its end a lease is not handed out any more.
    LEASE_MARGIN_SECONDS = 60

    MAX_LEASES = 1000

    def initialize(configuration, client)
      @configuration = configuration
      @client = client
      @leases = {}
      @lock = Mutex.new
    end

    # The path of a file with these bytes, or nil when Kura does not have it.
    def file(key, digest)
      path = copy_path(key, digest)
      linked(path, leased(key, digest)) || kept(path) || fill(path) { @client.open_file(key) }
    rescue Error::NotFound
      nil
    end

    # Whether a copy is here already.
    def file?(key, digest)
      File.exist?(copy_path(key, digest))
    end

    # The path of a leased file, or nil where no directory is shared or it cannot be had.
    def leased(key, digest)
      return nil unless @configuration.leases?

      id = [key, digest]
      path, expires_at = @lock.synchronize { @leases[id] }
      return path if path && Time.now < expires_at - LEASE_MARGIN_SECONDS && File.readable?(path)

      lease(id)
    rescue Error => e
      # Who has waited for a dead Kura must not wait again for a copy.
      raise if e.is_a?(Error::NotFound) || (e.is_a?(Error::Unavailable) && e.code != 'lease_space')

      RedmineKura.logger.info("Kura gives no lease: #{e.message}")
      nil
    end

    def forget_file(key, digest)
      @lock.synchronize { @leases.delete([key, digest]) }
      FileUtils.rm_rf(File.dirname(copy_path(key, digest)))
    end

    # Where the CSV file of an import lies, or would.
    def import_path(hex)
      File.join(directory('imports'), hex)
    end

    # The same, filled if Kura has it.
    def import(hex)
      path = import_path(hex)
      kept(path) || fill(path) { @client.open_import(hex) }
    rescue Error::NotFound
      path
    end

    # Fills the thumbnail's path. Raises Error::NotAnImage and Error::NotFound.
    def thumbnail(path, source_key)
      kept(path) || fill(path) { @client.open_thumbnail(File.basename(path), source_key) }
    end

    def thumbnails_directory
      File.join(root, 'thumbnails')
    end

    def names_directory
      directory('names')
    end

    def leftovers_directory
      directory('leftovers')
    end

    # Raises unless copies can be made.
    def check_writable
      probe = File.join(names_directory, ".#{SecureRandom.hex(6)}.part")
      File.write(probe, '')
    rescue SystemCallError => e
      raise_readably(e)
    ensure
      FileUtils.rm_f(probe) if probe
    end

    # What this disk refuses, as an Error.
    def raise_readably(error)
      case error
      when Errno::ENOSPC, Errno::EDQUOT then raise Error::Full, "KURA_LOCAL_DIR is full: #{error.message}"
      else raise Error::Misconfigured, "KURA_LOCAL_DIR cannot be written to: #{error.message}"
      end
    end

    # {files: count, bytes: sum} of what is kept for this tenant.
    def usage
      all = entries
      { files: all.size, bytes: all.sum {|_, stat| stat.size} }
    end

    # Removes what was not used for long, then what was used longest ago, until the rest fits.
    def sweep(bytes = @configuration.local_bytes)
      @swept_at = RedmineKura.clock
      File.open(File.join(directory, '.sweep'), File::RDWR | File::CREAT, 0o600) do |lock|
        remove_old(bytes) if lock.flock(File::LOCK_EX | File::LOCK_NB)
      end
    rescue SystemCallError, Error => e
      RedmineKura.logger.warn("Kura: local files cannot be swept: #{e.message}")
    end

    private

    def root
      File.join(@configuration.local_dir, @configuration.tenant_directory)
    end

    def directory(name = nil)
      path = name ? File.join(root, name) : root
      make_directory(path)
      path
    rescue SystemCallError => e
      raise_readably(e)
    end

    def make_directory(path)
      return if File.directory?(path)

      base = @configuration.local_dir
      FileUtils.mkdir_p(base, mode: 0o700)
      # In a directory for all, like /tmp, somebody else may have made it first.
      owner = File.lstat(base).uid
      raise Error::Misconfigured, "KURA_LOCAL_DIR belongs to another user (#{owner}): #{base}" unless [0, Process.euid].include?(owner)

      FileUtils.mkdir_p(path, mode: 0o700)
    end

    # Keys and digests are hashed: the same key with other bytes is another file, and nothing in
    # a key can lead out of the directory. The last part keeps its name, for code that looks at it.
    def copy_path(key, digest)
      id = OpenSSL::Digest.hexdigest('SHA256', "#{key}\0#{digest}")[0, 32]
      File.join(root, 'files', id, File.basename(key))
    end

    def kept(path)
      return nil unless File.exist?(path)

      File.lutime(Time.now, Time.now, path) if Time.now - File.lstat(path).mtime > 60
      path
    rescue Errno::ENOENT
      nil
    end

    def fill(path)
      response = yield
      make_directory(File.dirname(path))
      part = part_of(path)
      File.open(part, flags: File::WRONLY | File::CREAT | File::EXCL, perm: 0o600, binmode: true) do |file|
        response.each {|piece| file.write(piece)}
      end
      File.rename(part, path)
      sweep_now_and_then
      path
    rescue SystemCallError => e
      # With less room than KURA_LOCAL_BYTES: what is not in use goes, for the next try.
      sweep(0) if e.is_a?(Errno::ENOSPC) || e.is_a?(Errno::EDQUOT)
      raise_readably(e)
    ensure
      response&.close
      FileUtils.rm_f(part) if part
    end

    # A leased file is not copied: a symbolic link stands in its place, so that a file that
    # Redmine deletes is gone at once whatever Kura keeps.
    def linked(path, leased)
      return nil if leased.nil?
      return kept(path) if File.symlink?(path) && File.readlink(path) == leased

      make_directory(File.dirname(path))
      part = part_of(path)
      File.symlink(leased, part)
      File.rename(part, path)
      path
    rescue SystemCallError => e
      raise_readably(e)
    end

    # Beside the path, under a name that fits however long the file's own is.
    def part_of(path)
      File.join(File.dirname(path), "#{SecureRandom.hex(6)}.part")
    end

    def lease(id)
      answer = @client.lease(id.first, id.last.to_s.size == 64 ? id.last : nil)
      path = answer['path']
      return nil unless path.start_with?("#{@configuration.cache_dir.chomp('/')}/") && File.readable?(path)

      @lock.synchronize do
        @leases.shift if @leases.size >= MAX_LEASES
        @leases[id] = [path, Time.iso8601(answer['expires_at'])]
      end
      path
    end

    def sweep_now_and_then
      sweep if @swept_at.nil? || RedmineKura.clock - @swept_at > SWEEP_SECONDS
    end

    def entries
      Dir.glob(File.join(root, '{files/*,imports,thumbnails,names}', '*')).map do |path|
        [path, File.lstat(path)]
      rescue Errno::ENOENT
        nil
      end.compact
    end

    def remove_old(bytes)
      kept_from = Time.now - KEEP_SECONDS
      total = 0
      # From the last used to the first: what no longer fits is what was used longest ago.
      entries.sort_by {|_, stat| -stat.mtime.to_f}.each do |path, stat|
        total += stat.size
        next if stat.mtime > kept_from

        old = stat.mtime < Time.now - @configuration.local_seconds
        remove(path) if old || total > bytes
      end
    end

    def remove(path)
      FileUtils.rm_f(path)
      Dir.rmdir(File.dirname(path)) if File.dirname(File.dirname(path)) == File.join(root, 'files')
    rescue SystemCallError
      nil
    end
  end
end
