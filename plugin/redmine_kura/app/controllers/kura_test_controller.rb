# frozen_string_literal: true

# The Test button of the plugin's page.
class KuraTestController < ApplicationController
  layout 'admin'
  self.main_menu = false
  menu_item :plugins

  before_action :require_admin

  def create
    return render_404 unless RedmineKura.active?

    @steps = RedmineKura::SelfTest.new.run
  end
end
