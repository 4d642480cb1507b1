# A real Chromium without a window, driven through chromedriver, and what the
# browser tests do with Redmine's pages.
# frozen_string_literal: true

require 'selenium-webdriver'
require_relative 'lab'

module Lab
  class Web
    attr_reader :driver, :downloads

    def initialize(base, screenshots:, language: 'en')
      @base = base
      @screenshots = screenshots
      @downloads = Dir.mktmpdir('downloads-', Lab.scratch)
      @driver = self.class.chromium(language)
      driver.manage.window.resize_to(1280, 1000)
      cdp('Browser.setDownloadBehavior', behavior: 'allow', downloadPath: @downloads)
    end

    def self.chromium(language)
      ENV.update('SE_OFFLINE' => 'true', 'SE_AVOID_STATS' => 'true', 'SE_CHROMEDRIVER' => '/usr/bin/chromedriver')
      # A profile of its own: this Chromium meets no other.
      options = Selenium::WebDriver::Chrome::Options.new(
        binary: '/usr/bin/chromium',
        args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', "--lang=#{language}",
               "--user-data-dir=#{Dir.mktmpdir('chromium-', Lab.scratch)}", '--force-color-profile=srgb'],
        prefs: { 'plugins.always_open_pdf_externally' => true }
      )
      service = Selenium::WebDriver::Service.chrome(path: '/usr/bin/chromedriver')
      driver = Selenium::WebDriver.for(:chrome, options: options, service: service)
      at_exit { driver.quit rescue nil } # rubocop:disable Style/RescueModifier
      driver
    end

    def cdp(command, **parameters) = driver.execute_cdp(command, **parameters)
    def visit(path) = driver.get(URI.join(@base, path).to_s)
    def quit = driver.quit
    def js(script, *arguments) = driver.execute_script(script, *arguments)
    def all(css) = driver.find_elements(css: css)
    def text = js('return document.body ? document.body.innerText : ""')
    def title = driver.title

    # Waits for the element.
    def find(css)
      Lab.wait("#{css} on #{driver.current_url}", 20) do
        driver.find_elements(css: css).find(&:displayed?)
      rescue Selenium::WebDriver::Error::StaleElementReferenceError
        nil
      end
    end

    # Clicks what leads to another page, and waits for that page.
    def follow(css)
      js('window.kuraOld = true')
      find(css).click
      loaded
    end

    def loaded
      Lab.wait('next page', 30) { js("return !window.kuraOld && document.readyState === 'complete'") }
    end

    def accept = Lab.wait('question') { (driver.switch_to.alert rescue nil) }.accept # rubocop:disable Style/RescueModifier

    def shoot(name)
      FileUtils.mkdir_p(@screenshots)
      driver.save_screenshot(File.join(@screenshots, "#{name}.png"))
    end

    def login(name)
      # What is still under way could bring the session back.
      driver.get('about:blank')
      cdp('Network.clearBrowserCookies')
      visit '/login'
      find('#username').send_keys(name)
      find('#password').send_keys("#{name}1234")
      follow('#login-submit')
    end

    # Adds files to the form on this page as a person would, one way or another,
    # and waits until Redmine has them.
    def pick(*paths)
      adding(paths.size) { driver.find_element(css: 'input[type=file].filedrop').send_keys(paths.join("\n")) }
    end

    # Chromium's own drag of files from outside the page.
    def drop(*paths)
      adding(paths.size) do
        box = find('form .filedroplistner, form .filedrop-box, form .filedroplistener')
        js('arguments[0].scrollIntoView({block: "center"})', box)
        point = js('const r = arguments[0].getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]', box)
        data = { items: [], files: paths, dragOperationsMask: 1 }
        %w[dragEnter dragOver drop].each do |type|
          cdp('Input.dispatchDragEvent', type: type, x: point[0], y: point[1], data: data)
        end
      end
    end

    # An image in Chromium's clipboard, and Ctrl+V in the text field.
    def paste(field, path)
      cdp('Browser.grantPermissions', permissions: %w[clipboardReadWrite clipboardSanitizedWrite])
      area = find(field)
      area.click
      error = driver.execute_async_script(<<~JS, [File.binread(path)].pack('m0'))
        const [base64, done] = arguments;
        const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
        navigator.clipboard.write([new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})])
          .then(() => done(null), e => done(String(e)));
      JS
      raise "clipboard: #{error}" if error

      adding(1) { area.send_keys([:control, 'v']) }
    end

    def adding(count)
      wanted = all(FINISHED).size + count
      yield
      Lab.wait('upload', 60) { all(FINISHED).size == wanted }
    end

    # An upload's line on the form has its token when Redmine has it.
    FINISHED = '.attachments_fields input.token[value]:not([value=""])'
    private_constant :FINISHED

    # The path of the file that the block makes Chromium download, until the next.
    def download
      FileUtils.rm_f(Dir["#{@downloads}/*"])
      yield
      Lab.wait('download', 60) { Dir["#{@downloads}/*"].find { |file| !file.end_with?('.crdownload') } }
    end

    # What a script in this page gets: status, headers, bytes.
    def fetch(path, headers = {})
      status, found, base64 = driver.execute_async_script(<<~JS, path, headers)
        const [path, headers, done] = arguments;
        fetch(path, {headers}).then(async r => {
          const bytes = new Uint8Array(await r.arrayBuffer());
          let text = '';
          for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
          done([r.status, Object.fromEntries(r.headers), btoa(text)]);
        }, e => done([0, {}, btoa(String(e))]));
      JS
      [status, found, base64.unpack1('m0')]
    end

    # Whether all pictures of a kind have been shown, and how wide they are.
    def pictures(css)
      Lab.wait("pictures #{css}", 30) { js(<<~JS, css) }
        const all = [...document.querySelectorAll(arguments[0])];
        return all.length && all.every(i => i.complete) ? all.map(i => i.naturalWidth) : null;
      JS
    end
  end
end
