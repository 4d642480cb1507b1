# Pictures for tests, made here.
# frozen_string_literal: true

require 'open3'

module Samples
  WIDTH = 640
  HEIGHT = 400

  module_function

  def png = @png ||= convert('png:-')
  def jpeg = @jpeg ||= convert('-resize', '300%', '-quality', '85', 'jpeg:-')

  def convert(*output)
    command = ['/usr/bin/convert', '-size', "#{WIDTH}x#{HEIGHT}", 'gradient:navy-orange', '-fill', 'white',
               '-draw', 'circle 320,200 320,100', '-fill', 'crimson', '-draw', 'rectangle 40,40 160,120', *output]
    out, status = Open3.capture2(*command, binmode: true)
    status.success? ? out : raise('convert')
  end
end
